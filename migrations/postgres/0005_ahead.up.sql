-- What arrived before its predecessor. Without an envelope it is applied already (unordered
-- consumers, lanes); with one it waits for the missing message.
CREATE TABLE syncline_ahead (
    consumer      text        NOT NULL,
    source        text        NOT NULL,
    stream        text        NOT NULL,
    version       integer     NOT NULL DEFAULT 1,
    shard         integer     NOT NULL,
    position      bigint      NOT NULL,
    message_id    uuid        NOT NULL,
    prev_position bigint      NOT NULL,
    prev_id       uuid        NOT NULL,
    envelope      bytea,
    arrived_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, source, stream, version, shard, position)
);

-- Messages of foreign producers, which carry no position, by their id, for a time.
CREATE TABLE syncline_seen (
    consumer text        NOT NULL,
    source   text        NOT NULL,
    id       text        NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, source, id)
);
CREATE INDEX syncline_seen_at ON syncline_seen (consumer, seen_at);

-- unknown: this consumer has no handler for it yet; it is no failure of the message.
-- original: the envelope before an operator first edited it.
ALTER TABLE syncline_held
    ADD COLUMN unknown   boolean NOT NULL DEFAULT false,
    ADD COLUMN original  bytea,
    ADD COLUMN edited_by text,
    ADD COLUMN edited_at timestamptz;
