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

-- Instances of sagas that this service runs. owner is "saga/version", as in events and timers.
-- input and state are JSON. problem: why the engine cannot decide it; it waits for an operator.
CREATE TABLE syncline_saga (
    id         uuid        PRIMARY KEY,
    saga       text        NOT NULL,
    version    integer     NOT NULL,
    owner      text        NOT NULL,
    start_key  text        NOT NULL,
    status     text        NOT NULL,
    input      text        NOT NULL,
    state      text        NOT NULL,
    problem    text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stuck_at   timestamptz,
    ended_at   timestamptz,
    UNIQUE (saga, start_key)
);
CREATE INDEX syncline_saga_open ON syncline_saga (saga, version) WHERE ended_at IS NULL;
CREATE INDEX syncline_saga_stuck ON syncline_saga (stuck_at) WHERE stuck_at IS NOT NULL;
CREATE INDEX syncline_saga_ended ON syncline_saga (ended_at) WHERE ended_at IS NOT NULL;

-- What has happened to an instance and is not decided yet, as JSON.
CREATE TABLE syncline_saga_event (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    saga_id uuid        NOT NULL,
    owner   text        NOT NULL,
    event   text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX syncline_saga_event_saga ON syncline_saga_event (saga_id);
CREATE INDEX syncline_saga_event_owner ON syncline_saga_event (owner, id);

-- What became of an instance, step by step; only added to.
CREATE TABLE syncline_saga_log (
    id      bigint      GENERATED ALWAYS AS IDENTITY,
    saga_id uuid        NOT NULL,
    step    text,
    what    text        NOT NULL,
    attempt integer,
    detail  text,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (saga_id, id)
);

-- Entities that no other saga may lock until this one ends.
CREATE TABLE syncline_saga_lock (
    entity    text        PRIMARY KEY,
    saga_id   uuid        NOT NULL,
    locked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX syncline_saga_lock_saga ON syncline_saga_lock (saga_id);
