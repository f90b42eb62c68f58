-- The definitions of the streams that routes of this service carry. A changed definition is a
-- new version: it carries the positions after after_position, the version before it the others.
-- topics are patterns separated by spaces; empty until a relay has told them.
CREATE TABLE syncline_stream (
    name           text        NOT NULL,
    version        integer     NOT NULL CHECK (version >= 1),
    topics         text        NOT NULL,
    shards         integer     NOT NULL CHECK (shards >= 1),
    after_position bigint      NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
INSERT INTO syncline_stream (name, version, topics, shards)
SELECT DISTINCT stream, 1, '', 1 FROM syncline_route;

-- A checkpoint and a lease for each shard of each version. A closed one has sent all of its
-- version that there is.
ALTER TABLE syncline_route
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN shard   integer NOT NULL DEFAULT 0,
    ADD COLUMN paused  boolean NOT NULL DEFAULT false,
    ADD COLUMN closed  boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT syncline_route_pkey,
    ADD CONSTRAINT syncline_route_pkey PRIMARY KEY (name, version, shard);

-- Which relay processes can carry a route, each until its time runs out.
CREATE TABLE syncline_member (
    route      text        NOT NULL,
    holder     uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (route, holder)
);

-- final_position: where this version of the stream ended, once a newer one has begun here.
ALTER TABLE syncline_inbox
    ADD COLUMN version        integer NOT NULL DEFAULT 1,
    ADD COLUMN final_position bigint,
    DROP CONSTRAINT syncline_inbox_pkey,
    ADD CONSTRAINT syncline_inbox_pkey PRIMARY KEY (consumer, source, stream, version, shard);
