DROP TABLE syncline_idempotency;
DELETE FROM syncline_timer WHERE kind = 'delayed';
DROP TABLE syncline_delayed;
CREATE TABLE syncline_outbox_old (
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
INSERT INTO syncline_outbox_old (seq, id, topic, key, time, content_type, schema_version, headers, data)
SELECT seq, id, topic, key, time, content_type, schema_version, headers, data FROM syncline_outbox ORDER BY seq;
INSERT INTO sqlite_sequence (name, seq)
SELECT 'syncline_outbox_old', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'syncline_outbox_old');
UPDATE sqlite_sequence
SET seq = coalesce((SELECT new.seq FROM sqlite_sequence AS new WHERE new.name = 'syncline_outbox'), 0)
WHERE name = 'syncline_outbox_old';
DROP TABLE syncline_outbox;
ALTER TABLE syncline_outbox_old RENAME TO syncline_outbox;
