-- The processes that run a relay, a consumer or an engine of sagas on this database. Each writes its
-- row again every 15 seconds and removes it when it stops in order; a row that nobody has written for
-- a day is forgotten. kind: relay, consumer or engine. defined: JSON, what it was built with;
-- problems: a JSON array of texts.
CREATE TABLE syncline_process (
    id         uuid        PRIMARY KEY,
    kind       text        NOT NULL,
    name       text        NOT NULL,
    host       text        NOT NULL,
    pid        bigint      NOT NULL,
    program    text        NOT NULL,
    defined    text        NOT NULL,
    problems   text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
