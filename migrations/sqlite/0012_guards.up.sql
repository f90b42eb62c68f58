-- Guards for what other programs write. A table gets such rules only when it is made anew.

-- After the largest sequence value no other row could be inserted.
CREATE TABLE syncline_outbox_new (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL DEFAULT (randomblob(16)),
    topic          TEXT    NOT NULL,
    key            TEXT,
    time           INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)),
    content_type   TEXT    NOT NULL DEFAULT 'application/json',
    schema_version INTEGER NOT NULL DEFAULT 1,
    headers        TEXT    NOT NULL DEFAULT '{}',
    data           BLOB    NOT NULL,
    -- length() counts a text up to its first NUL.
    CONSTRAINT syncline_outbox_seq CHECK (seq BETWEEN 1 AND 9000000000000000000),
    CONSTRAINT syncline_outbox_id CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT syncline_outbox_topic CHECK (
        typeof(topic) = 'text' AND length(topic) BETWEEN 1 AND 120
        AND length(topic) = length(CAST(topic AS BLOB))
        AND topic NOT GLOB '*[^A-Za-z0-9._-]*'
        AND topic NOT GLOB '.*' AND topic NOT GLOB '*.' AND topic NOT GLOB '*..*'
        AND (topic NOT GLOB 'syncline.*' OR topic IN ('syncline.rejected', 'syncline.saga.reply'))),
    CONSTRAINT syncline_outbox_key CHECK (key IS NULL OR (
        typeof(key) = 'text' AND length(CAST(key AS BLOB)) BETWEEN 1 AND 255 AND instr(key, char(0)) = 0
        AND key NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*')),
    CONSTRAINT syncline_outbox_time CHECK (
        typeof(time) = 'integer' AND time BETWEEN -30610224000000000 AND 253402214400000000),
    CONSTRAINT syncline_outbox_content_type CHECK (
        typeof(content_type) = 'text' AND length(content_type) BETWEEN 1 AND 120
        AND length(content_type) = length(CAST(content_type AS BLOB))
        AND content_type NOT GLOB '*[^ -~]*'),
    CONSTRAINT syncline_outbox_schema_version CHECK (
        typeof(schema_version) = 'integer' AND schema_version BETWEEN 1 AND 2147483647),
    CONSTRAINT syncline_outbox_headers CHECK (headers = '{}' OR (
        typeof(headers) = 'text' AND json_valid(headers) AND json_type(headers) = 'object')),
    CONSTRAINT syncline_outbox_size CHECK (
        typeof(data) IN ('blob', 'text') AND length(CAST(data AS BLOB)) <= 4194304
        AND length(CAST(headers AS BLOB)) <= 1048576)
);
INSERT INTO syncline_outbox_new (seq, id, topic, key, time, content_type, schema_version, headers, data)
SELECT seq, id, topic, key, time, content_type, schema_version, headers, data FROM syncline_outbox ORDER BY seq;
-- A position is never given out twice, also when the rows that had the last ones are gone.
INSERT INTO sqlite_sequence (name, seq)
SELECT 'syncline_outbox_new', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'syncline_outbox_new');
UPDATE sqlite_sequence
SET seq = coalesce((SELECT old.seq FROM sqlite_sequence AS old WHERE old.name = 'syncline_outbox'), 0)
WHERE name = 'syncline_outbox_new';
DROP TABLE syncline_outbox;
ALTER TABLE syncline_outbox_new RENAME TO syncline_outbox;
-- The database gives a row its sequence value, without which it is -1 here: one that a row brings
-- itself would be a hole in the log, or stand behind its readers.
CREATE TRIGGER syncline_outbox_given BEFORE INSERT ON syncline_outbox WHEN NEW.seq <> -1
BEGIN
    SELECT RAISE(ABORT, 'the database gives syncline_outbox.seq: leave it out');
END;

-- What the outbox would refuse must not wait to be moved there.
CREATE TABLE syncline_delayed_new (
    id             BLOB    PRIMARY KEY,
    topic          TEXT    NOT NULL,
    key            TEXT,
    time           INTEGER NOT NULL,
    content_type   TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    headers        TEXT    NOT NULL,
    data           BLOB    NOT NULL,
    -- length() counts a text up to its first NUL.
    CONSTRAINT syncline_delayed_id CHECK (typeof(id) = 'blob' AND length(id) = 16),
    CONSTRAINT syncline_delayed_topic CHECK (
        typeof(topic) = 'text' AND length(topic) BETWEEN 1 AND 120
        AND length(topic) = length(CAST(topic AS BLOB))
        AND topic NOT GLOB '*[^A-Za-z0-9._-]*'
        AND topic NOT GLOB '.*' AND topic NOT GLOB '*.' AND topic NOT GLOB '*..*'
        AND (topic NOT GLOB 'syncline.*' OR topic IN ('syncline.rejected', 'syncline.saga.reply'))),
    CONSTRAINT syncline_delayed_key CHECK (key IS NULL OR (
        typeof(key) = 'text' AND length(CAST(key AS BLOB)) BETWEEN 1 AND 255 AND instr(key, char(0)) = 0
        AND key NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*')),
    CONSTRAINT syncline_delayed_time CHECK (
        typeof(time) = 'integer' AND time BETWEEN -30610224000000000 AND 253402214400000000),
    CONSTRAINT syncline_delayed_content_type CHECK (
        typeof(content_type) = 'text' AND length(content_type) BETWEEN 1 AND 120
        AND length(content_type) = length(CAST(content_type AS BLOB))
        AND content_type NOT GLOB '*[^ -~]*'),
    CONSTRAINT syncline_delayed_schema_version CHECK (
        typeof(schema_version) = 'integer' AND schema_version BETWEEN 1 AND 2147483647),
    CONSTRAINT syncline_delayed_headers CHECK (headers = '{}' OR (
        typeof(headers) = 'text' AND json_valid(headers) AND json_type(headers) = 'object')),
    CONSTRAINT syncline_delayed_size CHECK (
        typeof(data) IN ('blob', 'text') AND length(CAST(data AS BLOB)) <= 4194304
        AND length(CAST(headers AS BLOB)) <= 1048576)
);
INSERT INTO syncline_delayed_new SELECT id, topic, key, time, content_type, schema_version, headers, data FROM syncline_delayed;
DROP TABLE syncline_delayed;
ALTER TABLE syncline_delayed_new RENAME TO syncline_delayed;

-- A timer that cannot be read would stop all of its kind. One that is out of range is due at once:
-- what it is for is seen, and decided anew.
UPDATE syncline_timer SET due_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE typeof(due_at) <> 'integer' OR due_at NOT BETWEEN -30610224000000 AND 253402214399999;
DELETE FROM syncline_timer
WHERE kind IN ('delayed', 'saga')
  AND (length(subject) < 32 OR substr(subject, 1, 32) GLOB '*[^0-9a-f]*');
CREATE TABLE syncline_timer_new (
    kind    TEXT    NOT NULL,
    owner   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    due_at  INTEGER NOT NULL,
    PRIMARY KEY (kind, owner, subject),
    CONSTRAINT syncline_timer_due_in_years_1000_to_9999 CHECK (
        typeof(due_at) = 'integer' AND due_at BETWEEN -30610224000000 AND 253402214399999),
    CONSTRAINT syncline_timer_subject CHECK (
        kind NOT IN ('delayed', 'saga')
        OR (length(subject) >= 32 AND substr(subject, 1, 32) NOT GLOB '*[^0-9a-f]*'))
);
INSERT INTO syncline_timer_new SELECT kind, owner, subject, due_at FROM syncline_timer;
DROP TABLE syncline_timer;
ALTER TABLE syncline_timer_new RENAME TO syncline_timer;
CREATE INDEX syncline_timer_due ON syncline_timer (kind, owner, due_at);

-- Rows of the log that cannot be read or sent: their positions are passed over. Removed with them.
CREATE TABLE syncline_set_aside (
    position INTEGER PRIMARY KEY,
    seq      INTEGER NOT NULL,
    problem  TEXT    NOT NULL,
    at       INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
