-- The trim point: what stands at or below it is no longer kept.
CREATE TABLE syncline_trim (
    one      TINYINT NOT NULL DEFAULT 1 PRIMARY KEY CHECK (one = 1),
    position BIGINT  NOT NULL DEFAULT 0,
    seal     BIGINT  NOT NULL DEFAULT 0
) ENGINE = InnoDB;

INSERT INTO syncline_trim (position) VALUES (0);

-- The last message of each shard at or below the trim point, for what comes after names it. An id
-- of noughts: there is none after the position.
CREATE TABLE syncline_anchor (
    stream   VARBINARY(255) NOT NULL,
    version  INT            NOT NULL,
    shard    INT            NOT NULL,
    position BIGINT         NOT NULL,
    id       BINARY(16)     NOT NULL,
    PRIMARY KEY (stream, version, shard)
) ENGINE = InnoDB;

-- Where the log ended at a time, now and then: how old what stands below is.
CREATE TABLE syncline_mark (
    position BIGINT      NOT NULL PRIMARY KEY,
    at       DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;

-- alarm_at: since when its checkpoint has been standing still for too long, or is too far behind.
-- lost: retention goes on without it.
ALTER TABLE syncline_route
    ADD COLUMN alarm_at DATETIME(6),
    ADD COLUMN lost     BOOLEAN NOT NULL DEFAULT FALSE;
