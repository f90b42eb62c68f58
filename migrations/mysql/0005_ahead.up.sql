-- What arrived before its predecessor. Without an envelope it is applied already (unordered
-- consumers, lanes); with one it waits for the missing message.
CREATE TABLE syncline_ahead (
    consumer      VARBINARY(255) NOT NULL,
    source        VARBINARY(255) NOT NULL,
    stream        VARBINARY(255) NOT NULL,
    version       INT            NOT NULL DEFAULT 1,
    shard         INT            NOT NULL,
    position      BIGINT         NOT NULL,
    message_id    BINARY(16)     NOT NULL,
    prev_position BIGINT         NOT NULL,
    prev_id       BINARY(16)     NOT NULL,
    envelope      LONGBLOB,
    arrived_at    DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (consumer, source, stream, version, shard, position)
) ENGINE = InnoDB;

-- Messages of foreign producers, which carry no position, by their id, for a time.
CREATE TABLE syncline_seen (
    consumer VARBINARY(255) NOT NULL,
    source   VARBINARY(255) NOT NULL,
    id       VARBINARY(255) NOT NULL,
    seen_at  DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (consumer, source, id),
    KEY syncline_seen_at (consumer, seen_at)
) ENGINE = InnoDB;

-- unknown: this consumer has no handler for it yet; it is no failure of the message.
-- original: the envelope before an operator first edited it.
ALTER TABLE syncline_held
    ADD COLUMN unknown   BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN original  LONGBLOB,
    ADD COLUMN edited_by LONGBLOB,
    ADD COLUMN edited_at DATETIME(6);
