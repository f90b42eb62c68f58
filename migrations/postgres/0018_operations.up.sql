-- Acts of operators by commands, with who and why. A row is written before the act; ended_at, and
-- affected (how many) or problem (why not), after it: a row without ended_at is under way, or was cut off.
-- Rows older than a year are forgotten when the next one is written.
CREATE TABLE syncline_operation (
    id       uuid        PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    operator text        NOT NULL,
    command  text        NOT NULL,
    target   text        NOT NULL,
    why      text        NOT NULL,
    affected bigint,
    problem  text
);
CREATE INDEX syncline_operation_began ON syncline_operation (began_at);
