-- Only what the older schema can name stays: the first version's shard 0.
DELETE FROM syncline_inbox WHERE version > 1;

ALTER TABLE syncline_inbox
    DROP PRIMARY KEY,
    DROP COLUMN version,
    DROP COLUMN final_position,
    ADD PRIMARY KEY (consumer, source, stream, shard);

DROP TABLE syncline_member;

DELETE FROM syncline_route WHERE version > 1 OR shard > 0;

ALTER TABLE syncline_route
    DROP PRIMARY KEY,
    DROP COLUMN version,
    DROP COLUMN shard,
    DROP COLUMN paused,
    DROP COLUMN closed,
    ADD PRIMARY KEY (name);

DROP TABLE syncline_stream;
