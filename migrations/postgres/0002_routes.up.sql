-- A lease is held until its time runs out by this database's clock; each new
-- holder gets a higher epoch, which fences what the one before it still writes.
CREATE TABLE syncline_lease (
    name       text        PRIMARY KEY,
    holder     uuid        NOT NULL,
    epoch      bigint      NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Where a route stands in its stream: the log up to position was acknowledged,
-- and (last_position, last_id) is the stream's last message in it.
CREATE TABLE syncline_route (
    name          text        PRIMARY KEY,
    stream        text        NOT NULL,
    position      bigint      NOT NULL DEFAULT 0,
    seal          bigint      NOT NULL DEFAULT 0,
    seq           bigint      NOT NULL DEFAULT 0,
    last_position bigint      NOT NULL DEFAULT 0,
    last_id       uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    updated_at    timestamptz NOT NULL DEFAULT now()
);
