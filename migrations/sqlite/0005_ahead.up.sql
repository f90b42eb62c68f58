-- What arrived before its predecessor. Without an envelope it is applied already (unordered
-- consumers, lanes); with one it waits for the missing message.
CREATE TABLE syncline_ahead (
    consumer      TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    stream        TEXT    NOT NULL,
    version       INTEGER NOT NULL DEFAULT 1,
    shard         INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    message_id    BLOB    NOT NULL,
    prev_position INTEGER NOT NULL,
    prev_id       BLOB    NOT NULL,
    envelope      BLOB,
    arrived_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, stream, version, shard, position)
);

-- Messages of foreign producers, which carry no position, by their id, for a time.
CREATE TABLE syncline_seen (
    consumer TEXT    NOT NULL,
    source   TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    seen_at  INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, id)
);
CREATE INDEX syncline_seen_at ON syncline_seen (consumer, seen_at);

-- unknown: this consumer has no handler for it yet; it is no failure of the message.
-- original: the envelope before an operator first edited it.
ALTER TABLE syncline_held ADD COLUMN unknown INTEGER NOT NULL DEFAULT 0;
ALTER TABLE syncline_held ADD COLUMN original BLOB;
ALTER TABLE syncline_held ADD COLUMN edited_by TEXT;
ALTER TABLE syncline_held ADD COLUMN edited_at INTEGER;
