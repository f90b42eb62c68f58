DROP TABLE syncline_set_aside;
CREATE TABLE syncline_timer_new (
    kind    TEXT    NOT NULL,
    owner   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    due_at  INTEGER NOT NULL,
    PRIMARY KEY (kind, owner, subject)
);
INSERT INTO syncline_timer_new SELECT kind, owner, subject, due_at FROM syncline_timer;
DROP TABLE syncline_timer;
ALTER TABLE syncline_timer_new RENAME TO syncline_timer;
CREATE INDEX syncline_timer_due ON syncline_timer (kind, owner, due_at);
CREATE TABLE syncline_delayed_new (
    id             BLOB    PRIMARY KEY,
    topic          TEXT    NOT NULL,
    key            TEXT,
    time           INTEGER NOT NULL,
    content_type   TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    headers        TEXT    NOT NULL,
    data           BLOB    NOT NULL
);
INSERT INTO syncline_delayed_new SELECT id, topic, key, time, content_type, schema_version, headers, data FROM syncline_delayed;
DROP TABLE syncline_delayed;
ALTER TABLE syncline_delayed_new RENAME TO syncline_delayed;
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
