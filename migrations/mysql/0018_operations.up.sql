-- Acts of operators by commands, with who and why. A row is written before the act; ended_at, and
-- affected (how many) or problem (why not), after it: a row without ended_at is under way, or was cut off.
-- Rows older than a year are forgotten when the next one is written.
CREATE TABLE syncline_operation (
    id       BINARY(16)     NOT NULL PRIMARY KEY,
    began_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    ended_at DATETIME(6),
    operator VARBINARY(255) NOT NULL,
    command  VARBINARY(255) NOT NULL,
    target   LONGBLOB       NOT NULL,
    why      LONGBLOB       NOT NULL,
    affected BIGINT,
    problem  LONGBLOB,
    KEY syncline_operation_began (began_at)
) ENGINE = InnoDB;
