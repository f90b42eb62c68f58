-- The definitions of the streams that routes of this service carry. A changed definition is a
-- new version: it carries the positions after after_position, the version before it the others.
-- topics are patterns separated by spaces; empty until a relay has told them.
CREATE TABLE syncline_stream (
    name           VARBINARY(255) NOT NULL,
    version        INT            NOT NULL CHECK (version >= 1),
    topics         LONGBLOB       NOT NULL,
    shards         INT            NOT NULL CHECK (shards >= 1),
    after_position BIGINT         NOT NULL DEFAULT 0,
    created_at     DATETIME(6)    NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    PRIMARY KEY (name, version)
) ENGINE = InnoDB;

INSERT INTO syncline_stream (name, version, topics, shards)
SELECT DISTINCT stream, 1, '', 1 FROM syncline_route;

-- A checkpoint and a lease for each shard of each version. A closed one has sent all of its
-- version that there is.
ALTER TABLE syncline_route
    ADD COLUMN version INT     NOT NULL DEFAULT 1,
    ADD COLUMN shard   INT     NOT NULL DEFAULT 0,
    ADD COLUMN paused  BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN closed  BOOLEAN NOT NULL DEFAULT FALSE,
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (name, version, shard);

-- Which relay processes can carry a route, each until its time runs out.
CREATE TABLE syncline_member (
    route      VARBINARY(255) NOT NULL,
    holder     BINARY(16)     NOT NULL,
    expires_at DATETIME(6)    NOT NULL,
    PRIMARY KEY (route, holder)
) ENGINE = InnoDB;

-- final_position: where this version of the stream ended, once a newer one has begun here.
ALTER TABLE syncline_inbox
    ADD COLUMN version        INT NOT NULL DEFAULT 1,
    ADD COLUMN final_position BIGINT,
    DROP PRIMARY KEY,
    ADD PRIMARY KEY (consumer, source, stream, version, shard);
