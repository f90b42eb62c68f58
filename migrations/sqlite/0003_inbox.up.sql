-- The watermark: everything of this stream up to it was applied (or held, with its
-- key parked); (last_position, last_id) is the last message at or below it.
CREATE TABLE syncline_inbox (
    consumer      TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    stream        TEXT    NOT NULL,
    shard         INTEGER NOT NULL,
    incarnation   BLOB    NOT NULL,
    watermark     INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    last_id       BLOB    NOT NULL,
    updated_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, stream, shard)
);

-- A parked key: its later messages are held behind it.
CREATE TABLE syncline_parked (
    consumer  TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    parked_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, key)
);

-- Messages that were received but not applied. A dead one waits for the operator.
CREATE TABLE syncline_held (
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
    UNIQUE (consumer, source, key, position)
);
CREATE INDEX syncline_held_dead ON syncline_held (consumer, id) WHERE dead;

-- What is due at a time (ms since 1970), by this database's clock.
CREATE TABLE syncline_timer (
    kind    TEXT    NOT NULL,
    owner   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    due_at  INTEGER NOT NULL,
    PRIMARY KEY (kind, owner, subject)
);
CREATE INDEX syncline_timer_due ON syncline_timer (kind, owner, due_at);

-- Rejections that this service, as the source, has compensated: once per message.
CREATE TABLE syncline_compensated (
    message_id  BLOB    PRIMARY KEY,
    rejected_by TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    at          INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
