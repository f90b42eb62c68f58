-- The participant's barrier: what became of a step of another service's saga. answer is JSON;
-- undone: it was compensated, or barred by its compensation before it was applied.
CREATE TABLE syncline_barrier (
    source     text        NOT NULL,
    saga_id    uuid        NOT NULL,
    step       text        NOT NULL,
    answer     text        NOT NULL,
    undone     boolean     NOT NULL DEFAULT false,
    touched_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, saga_id, step)
);
CREATE INDEX syncline_barrier_touched ON syncline_barrier (touched_at);
