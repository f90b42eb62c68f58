-- Only what the older schema can name stays: the first version's shard 0.
CREATE TABLE syncline_inbox_old (
    consumer      TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    stream        TEXT    NOT NULL,
    shard         INTEGER NOT NULL,
    incarnation   BLOB    NOT NULL,
    watermark     INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    last_id       BLOB    NOT NULL,
    updated_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)),
    PRIMARY KEY (consumer, source, stream, shard)
);
INSERT INTO syncline_inbox_old
    (consumer, source, stream, shard, incarnation, watermark, last_position, last_id, updated_at)
SELECT consumer, source, stream, shard, incarnation, watermark, last_position, last_id, updated_at
FROM syncline_inbox WHERE version = 1;
DROP TABLE syncline_inbox;
ALTER TABLE syncline_inbox_old RENAME TO syncline_inbox;

DROP TABLE syncline_member;

CREATE TABLE syncline_route_old (
    name          TEXT    PRIMARY KEY,
    stream        TEXT    NOT NULL,
    position      INTEGER NOT NULL DEFAULT 0,
    seal          INTEGER NOT NULL DEFAULT 0,
    seq           INTEGER NOT NULL DEFAULT 0,
    last_position INTEGER NOT NULL DEFAULT 0,
    last_id       BLOB    NOT NULL DEFAULT (zeroblob(16)),
    updated_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
INSERT INTO syncline_route_old
    (name, stream, position, seal, seq, last_position, last_id, updated_at)
SELECT name, stream, position, seal, seq, last_position, last_id, updated_at
FROM syncline_route WHERE version = 1 AND shard = 0;
DROP TABLE syncline_route;
ALTER TABLE syncline_route_old RENAME TO syncline_route;
DROP TABLE syncline_stream;
