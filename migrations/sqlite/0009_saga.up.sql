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

-- Instances of sagas that this service runs. owner is "saga/version", as in events and timers.
-- input and state are JSON. problem: why the engine cannot decide it; it waits for an operator.
CREATE TABLE syncline_saga (
    id         BLOB    PRIMARY KEY,
    saga       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    owner      TEXT    NOT NULL,
    start_key  TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    input      TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    problem    TEXT,
    started_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    updated_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    stuck_at   INTEGER,
    ended_at   INTEGER,
    UNIQUE (saga, start_key)
);
CREATE INDEX syncline_saga_open ON syncline_saga (saga, version) WHERE ended_at IS NULL;
CREATE INDEX syncline_saga_stuck ON syncline_saga (stuck_at) WHERE stuck_at IS NOT NULL;
CREATE INDEX syncline_saga_ended ON syncline_saga (ended_at) WHERE ended_at IS NOT NULL;

-- What has happened to an instance and is not decided yet, as JSON.
CREATE TABLE syncline_saga_event (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id BLOB    NOT NULL,
    owner   TEXT    NOT NULL,
    event   TEXT    NOT NULL,
    at      INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
CREATE INDEX syncline_saga_event_saga ON syncline_saga_event (saga_id);
CREATE INDEX syncline_saga_event_owner ON syncline_saga_event (owner, id);

-- What became of an instance, step by step; only added to.
CREATE TABLE syncline_saga_log (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id BLOB    NOT NULL,
    step    TEXT,
    what    TEXT    NOT NULL,
    attempt INTEGER,
    detail  TEXT,
    at      INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
CREATE INDEX syncline_saga_log_saga ON syncline_saga_log (saga_id, id);

-- Entities that no other saga may lock until this one ends.
CREATE TABLE syncline_saga_lock (
    entity    TEXT    PRIMARY KEY,
    saga_id   BLOB    NOT NULL,
    locked_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
CREATE INDEX syncline_saga_lock_saga ON syncline_saga_lock (saga_id);
