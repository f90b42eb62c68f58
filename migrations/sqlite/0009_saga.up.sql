-- The participant's barrier: what became of a step of another service's saga. answer is JSON;
-- undone: it was compensated, or barred by its compensation before it was applied.
CREATE TABLE syncline_barrier (
    source     TEXT    NOT NULL,
    saga_id    BLOB    NOT NULL,
    step       TEXT    NOT NULL,
    answer     TEXT    NOT NULL,
    undone     INTEGER NOT NULL DEFAULT 0,
    touched_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (source, saga_id, step)
);
CREATE INDEX syncline_barrier_touched ON syncline_barrier (touched_at);
