-- Acts of operators by commands, with who and why. A row is written before the act; ended_at, and
-- affected (how many) or problem (why not), after it: a row without ended_at is under way, or was cut off.
-- Rows older than a year are forgotten when the next one is written. Times are ms since 1970.
CREATE TABLE syncline_operation (
    id       BLOB    PRIMARY KEY,
    began_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    ended_at INTEGER,
    operator TEXT    NOT NULL,
    command  TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    why      TEXT    NOT NULL,
    affected INTEGER,
    problem  TEXT
);
CREATE INDEX syncline_operation_began ON syncline_operation (began_at);
