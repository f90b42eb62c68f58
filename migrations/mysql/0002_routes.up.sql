-- A lease is held until its time runs out by this database's clock; each new
-- holder gets a higher epoch, which fences what the one before it still writes.
CREATE TABLE syncline_lease (
    name       VARBINARY(255) NOT NULL PRIMARY KEY,
    holder     BINARY(16)     NOT NULL,
    epoch      BIGINT         NOT NULL,
    expires_at DATETIME(6)    NOT NULL
) ENGINE = InnoDB;

-- Where a route stands in its stream: the log up to position was acknowledged,
-- and (last_position, last_id) is the stream's last message in it.
CREATE TABLE syncline_route (
    name          VARBINARY(255) NOT NULL PRIMARY KEY,
    stream        VARBINARY(255) NOT NULL,
    position      BIGINT         NOT NULL DEFAULT 0,
    seal          BIGINT         NOT NULL DEFAULT 0,
    seq           BIGINT         NOT NULL DEFAULT 0,
    last_position BIGINT         NOT NULL DEFAULT 0,
    last_id       BINARY(16)     NOT NULL DEFAULT (UNHEX(REPEAT('00', 16))),
    updated_at    DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;
