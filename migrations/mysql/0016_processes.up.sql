-- The processes that run a relay, a consumer or an engine of sagas on this database. Each writes its
-- row again every 15 seconds and removes it when it stops in order; a row that nobody has written for
-- a day is forgotten. kind: relay, consumer or engine. defined: JSON, what it was built with;
-- problems: a JSON array of texts.
CREATE TABLE syncline_process (
    id         BINARY(16)     NOT NULL PRIMARY KEY,
    kind       VARBINARY(20)  NOT NULL,
    name       VARBINARY(255) NOT NULL,
    host       VARBINARY(255) NOT NULL,
    pid        BIGINT         NOT NULL,
    program    VARBINARY(255) NOT NULL,
    defined    LONGBLOB       NOT NULL,
    problems   LONGBLOB       NOT NULL,
    started_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    seen_at    DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;
