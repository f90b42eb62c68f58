-- A lease is held until its time (ms since 1970) runs out by this database's clock;
-- each new holder gets a higher epoch, which fences what the one before it still writes.
CREATE TABLE syncline_lease (
    name       TEXT    PRIMARY KEY,
    holder     BLOB    NOT NULL,
    epoch      INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

-- Where a route stands in its stream: the log up to position was acknowledged,
-- and (last_position, last_id) is the stream's last message in it.
CREATE TABLE syncline_route (
    name          TEXT    PRIMARY KEY,
    stream        TEXT    NOT NULL,
    position      INTEGER NOT NULL DEFAULT 0,
    seal          INTEGER NOT NULL DEFAULT 0,
    seq           INTEGER NOT NULL DEFAULT 0,
    last_position INTEGER NOT NULL DEFAULT 0,
    last_id       BLOB    NOT NULL DEFAULT (zeroblob(16)),
    updated_at    INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
);
