-- The definitions of the streams that routes of this service carry. A changed definition is a
-- new version: it carries the positions after after_position, the version before it the others.
-- topics are patterns separated by spaces; empty until a relay has told them.
CREATE TABLE syncline_stream (
    name           TEXT    NOT NULL,
    version        INTEGER NOT NULL CHECK (version >= 1),
    topics         TEXT    NOT NULL,
    shards         INTEGER NOT NULL CHECK (shards >= 1),
    after_position INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (name, version)
);
INSERT INTO syncline_stream (name, version, topics, shards)
SELECT DISTINCT stream, 1, '', 1 FROM syncline_route;

-- A checkpoint and a lease for each shard of each version. A closed one has sent all of its
-- version that there is.
CREATE TABLE syncline_route_new (
    name          TEXT    NOT NULL,
    version       INTEGER NOT NULL DEFAULT 1,
    shard         INTEGER NOT NULL DEFAULT 0,
    stream        TEXT    NOT NULL,
    position      INTEGER NOT NULL DEFAULT 0,
    seal          INTEGER NOT NULL DEFAULT 0,
    seq           INTEGER NOT NULL DEFAULT 0,
    last_position INTEGER NOT NULL DEFAULT 0,
    last_id       BLOB    NOT NULL DEFAULT (zeroblob(16)),
    updated_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    paused        INTEGER NOT NULL DEFAULT 0,
    closed        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, version, shard)
);
INSERT INTO syncline_route_new
    (name, stream, position, seal, seq, last_position, last_id, updated_at)
SELECT name, stream, position, seal, seq, last_position, last_id, updated_at FROM syncline_route;
DROP TABLE syncline_route;
ALTER TABLE syncline_route_new RENAME TO syncline_route;

-- Which relay processes can carry a route, each until its time (ms since 1970) runs out.
CREATE TABLE syncline_member (
    route      TEXT    NOT NULL,
    holder     BLOB    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (route, holder)
);

-- final_position: where this version of the stream ended, once a newer one has begun here.
CREATE TABLE syncline_inbox_new (
    consumer       TEXT    NOT NULL,
    source         TEXT    NOT NULL,
    stream         TEXT    NOT NULL,
    version        INTEGER NOT NULL DEFAULT 1,
    shard          INTEGER NOT NULL,
    incarnation    BLOB    NOT NULL,
    watermark      INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    last_id        BLOB    NOT NULL,
    final_position INTEGER,
    updated_at     INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, stream, version, shard)
);
INSERT INTO syncline_inbox_new
    (consumer, source, stream, shard, incarnation, watermark, last_position, last_id, updated_at)
SELECT consumer, source, stream, shard, incarnation, watermark, last_position, last_id, updated_at
FROM syncline_inbox;
DROP TABLE syncline_inbox;
ALTER TABLE syncline_inbox_new RENAME TO syncline_inbox;
