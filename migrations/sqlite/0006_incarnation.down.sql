CREATE TABLE syncline_held_new (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    consumer   TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    stream     TEXT    NOT NULL,
    shard      INTEGER NOT NULL,
    position   INTEGER NOT NULL,
    message_id BLOB    NOT NULL,
    topic      TEXT    NOT NULL,
    envelope   BLOB    NOT NULL,
    reason     TEXT    NOT NULL CHECK (reason IN ('failed', 'retry', 'behind')),
    dead       INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    error      TEXT,
    held_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    unknown    INTEGER NOT NULL DEFAULT 0,
    original   BLOB,
    edited_by  TEXT,
    edited_at  INTEGER,
    UNIQUE (consumer, source, key, position)
);
INSERT INTO syncline_held_new
   (id, consumer, source, key, stream, shard, position, message_id, topic, envelope, reason,
    dead, attempts, error, held_at, unknown, original, edited_by, edited_at)
SELECT
    id, consumer, source, key, stream, shard, position, message_id, topic, envelope, reason,
    dead, attempts, error, held_at, unknown, original, edited_by, edited_at
FROM syncline_held;
DROP TABLE syncline_held;
ALTER TABLE syncline_held_new RENAME TO syncline_held;
CREATE INDEX syncline_held_dead ON syncline_held (consumer, id) WHERE dead;
DROP TABLE syncline_term;
DROP TABLE syncline_incarnation;
