-- Only what the older schema can name stays: the first version's shard 0.
DELETE FROM syncline_inbox WHERE version > 1;
ALTER TABLE syncline_inbox
    DROP CONSTRAINT syncline_inbox_pkey,
    DROP COLUMN version,
    DROP COLUMN final_position,
    ADD CONSTRAINT syncline_inbox_pkey PRIMARY KEY (consumer, source, stream, shard);
DROP TABLE syncline_member;
DELETE FROM syncline_route WHERE version > 1 OR shard > 0;
ALTER TABLE syncline_route
    DROP CONSTRAINT syncline_route_pkey,
    DROP COLUMN version,
    DROP COLUMN shard,
    DROP COLUMN paused,
    DROP COLUMN closed,
    ADD CONSTRAINT syncline_route_pkey PRIMARY KEY (name);
DROP TABLE syncline_stream;
