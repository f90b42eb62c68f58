-- Names are bytes: no collation may fold their case or ignore their trailing spaces. They are
-- wider than what is allowed, so that a session that truncates what is too long meets the CHECK.
-- Times are in UTC whatever the session's time zone is.

-- This database's identity: every envelope carries the incarnation.
CREATE TABLE syncline_node (
    one         TINYINT     NOT NULL DEFAULT 1 PRIMARY KEY CHECK (one = 1),
    incarnation BINARY(16)  NOT NULL,
    created_at  DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
) ENGINE = InnoDB;

INSERT INTO syncline_node (incarnation) VALUES (UNHEX(LEFT(SHA2(UUID(), 256), 32)));

-- Append-only. The sealer gives each committed row its position, once. Until then it is 0, which
-- keeps the row as long as it will be, and the index on it lists what is to be sealed.
CREATE TABLE syncline_outbox (
    seq            BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    position       BIGINT         NOT NULL DEFAULT 0,
    id             BINARY(16)     NOT NULL DEFAULT (UNHEX(LEFT(SHA2(UUID(), 256), 32))),
    topic          VARBINARY(512) NOT NULL CHECK (LENGTH(topic) <= 120),
    `key`          VARBINARY(512) CHECK (LENGTH(`key`) <= 255),
    time           DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    content_type   VARBINARY(512) NOT NULL DEFAULT 'application/json' CHECK (LENGTH(content_type) <= 120),
    schema_version INT            NOT NULL DEFAULT 1,
    headers        LONGBLOB       NOT NULL DEFAULT ('{}'),
    data           LONGBLOB       NOT NULL,
    KEY syncline_outbox_position (position)
) ENGINE = InnoDB;

-- The last position that was given out. Whoever seals locks this row first.
CREATE TABLE syncline_head (
    one      TINYINT NOT NULL DEFAULT 1 PRIMARY KEY CHECK (one = 1),
    position BIGINT  NOT NULL
) ENGINE = InnoDB;

INSERT INTO syncline_head (position) VALUES (0);
