-- What enqueue refuses, a plain INSERT must not get past either: a row that cannot be sent would
-- stop every route. A table gets such rules only when it is made anew. The default of time is one
-- that services with an older SQLite know, too.
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

-- Messages that are put into the outbox later; when, the timer of kind delayed says whose subject
-- is the id in 32 hexadecimal digits.
CREATE TABLE syncline_delayed (
    id             BLOB    PRIMARY KEY,
    topic          TEXT    NOT NULL,
    key            TEXT,
    time           INTEGER NOT NULL,
    content_type   TEXT    NOT NULL,
    schema_version INTEGER NOT NULL,
    headers        TEXT    NOT NULL,
    data           BLOB    NOT NULL
);

-- Which message was written under a key, and the digest of its content. seq is 0 for a delayed
-- one, and none until the transaction that takes the key has written the message.
CREATE TABLE syncline_idempotency (
    key        TEXT    PRIMARY KEY,
    message_id BLOB    NOT NULL,
    digest     BLOB    NOT NULL,
    seq        INTEGER,
    created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
);
CREATE INDEX syncline_idempotency_created ON syncline_idempotency (created_at);
