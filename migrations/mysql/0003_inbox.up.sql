-- The watermark: everything of this stream up to it was applied (or held, with its
-- key parked); (last_position, last_id) is the last message at or below it.
CREATE TABLE syncline_inbox (
    consumer      VARBINARY(255) NOT NULL,
    source        VARBINARY(255) NOT NULL,
    stream        VARBINARY(255) NOT NULL,
    shard         INT            NOT NULL,
    incarnation   BINARY(16)     NOT NULL,
    watermark     BIGINT         NOT NULL,
    last_position BIGINT         NOT NULL,
    last_id       BINARY(16)     NOT NULL,
    updated_at    DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (consumer, source, stream, shard)
) ENGINE = InnoDB;

-- A parked key: whoever appends to or empties its held messages locks this row.
CREATE TABLE syncline_parked (
    consumer  VARBINARY(255) NOT NULL,
    source    VARBINARY(255) NOT NULL,
    `key`     VARBINARY(255) NOT NULL,
    parked_at DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (consumer, source, `key`)
) ENGINE = InnoDB;

-- Messages that were received but not applied. A dead one waits for the operator.
CREATE TABLE syncline_held (
    id         BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    consumer   VARBINARY(255) NOT NULL,
    source     VARBINARY(255) NOT NULL,
    `key`      VARBINARY(255) NOT NULL,
    stream     VARBINARY(255) NOT NULL,
    shard      INT            NOT NULL,
    position   BIGINT         NOT NULL,
    message_id BINARY(16)     NOT NULL,
    topic      VARBINARY(255) NOT NULL,
    envelope   LONGBLOB       NOT NULL,
    reason     VARBINARY(20)  NOT NULL CHECK (reason IN ('failed', 'retry', 'behind')),
    dead       BOOLEAN        NOT NULL DEFAULT FALSE,
    attempts   INT            NOT NULL DEFAULT 0,
    error      LONGBLOB,
    held_at    DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    UNIQUE KEY syncline_held_position (consumer, source, `key`, position),
    KEY syncline_held_dead (dead, id)
) ENGINE = InnoDB;

-- What is due at a time, by this database's clock. subject names the thing within its kind.
CREATE TABLE syncline_timer (
    kind    VARBINARY(60)  NOT NULL,
    owner   VARBINARY(255) NOT NULL,
    subject VARBINARY(512) NOT NULL,
    due_at  DATETIME(6)    NOT NULL,
    PRIMARY KEY (kind, owner, subject),
    KEY syncline_timer_due (kind, owner, due_at)
) ENGINE = InnoDB;

-- Rejections that this service, as the source, has compensated: once per message.
CREATE TABLE syncline_compensated (
    message_id  BINARY(16)  NOT NULL PRIMARY KEY,
    rejected_by LONGBLOB    NOT NULL,
    reason      LONGBLOB    NOT NULL,
    at          DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;
