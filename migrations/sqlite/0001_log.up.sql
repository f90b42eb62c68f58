-- This database's identity: every envelope carries the incarnation.
CREATE TABLE syncline_node (
    one         INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    incarnation BLOB    NOT NULL DEFAULT (randomblob(16)),
    created_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
INSERT INTO syncline_node DEFAULT VALUES;

-- Append-only. SQLite has one writer, so AUTOINCREMENT order is commit order
-- and seq is the position; no seal is needed.
CREATE TABLE syncline_outbox (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL DEFAULT (randomblob(16)),
    topic          TEXT    NOT NULL,
    key            TEXT,
    time           INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    content_type   TEXT    NOT NULL DEFAULT 'application/json',
    schema_version INTEGER NOT NULL DEFAULT 1,
    headers        TEXT    NOT NULL DEFAULT '{}',
    data           BLOB    NOT NULL
);
