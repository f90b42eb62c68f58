-- The trim point: what stands at or below it is no longer kept.
CREATE TABLE syncline_trim (
    one      INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    position INTEGER NOT NULL DEFAULT 0,
    seal     INTEGER NOT NULL DEFAULT 0
);
INSERT INTO syncline_trim DEFAULT VALUES;

-- The last message of each shard at or below the trim point, for what comes after names it. An id
-- of noughts: there is none after the position.
CREATE TABLE syncline_anchor (
    stream   TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    shard    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    id       BLOB    NOT NULL,
    PRIMARY KEY (stream, version, shard)
);

-- Where the log ended at a time (ms since 1970), now and then: how old what stands below is.
CREATE TABLE syncline_mark (
    position INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);

-- alarm_at: since when its checkpoint has been standing still for too long, or is too far behind.
-- lost: retention goes on without it.
ALTER TABLE syncline_route ADD COLUMN alarm_at INTEGER;
ALTER TABLE syncline_route ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
