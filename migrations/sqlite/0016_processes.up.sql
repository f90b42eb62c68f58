-- The processes that run a relay, a consumer or an engine of sagas on this database. Each writes its
-- row again every 15 seconds and removes it when it stops in order; a row that nobody has written for
-- a day is forgotten. kind: relay, consumer or engine. defined: JSON, what it was built with;
-- problems: a JSON array of texts. Times are ms since 1970.
CREATE TABLE syncline_process (
    id         BLOB    PRIMARY KEY,
    kind       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    host       TEXT    NOT NULL,
    pid        INTEGER NOT NULL,
    program    TEXT    NOT NULL,
    defined    TEXT    NOT NULL,
    problems   TEXT    NOT NULL,
    started_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    seen_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
