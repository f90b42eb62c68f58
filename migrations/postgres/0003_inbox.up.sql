-- The watermark: everything of this stream up to it was applied (or held, with its
-- key parked); (last_position, last_id) is the last message at or below it.
CREATE TABLE syncline_inbox (
    consumer      text        NOT NULL,
    source        text        NOT NULL,
    stream        text        NOT NULL,
    shard         integer     NOT NULL,
    incarnation   uuid        NOT NULL,
    watermark     bigint      NOT NULL,
    last_position bigint      NOT NULL,
    last_id       uuid        NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source, stream, shard)
);

-- A parked key: whoever appends to or empties its held messages locks this row.
CREATE TABLE syncline_parked (
    consumer  text        NOT NULL,
    source    text        NOT NULL,
    key       text        NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, source, key)
);

-- Messages that were received but not applied. A dead one waits for the operator.
CREATE TABLE syncline_held (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer   text        NOT NULL,
    source     text        NOT NULL,
    key        text        NOT NULL,
    stream     text        NOT NULL,
    shard      integer     NOT NULL,
    position   bigint      NOT NULL,
    message_id uuid        NOT NULL,
    topic      text        NOT NULL,
    envelope   bytea       NOT NULL,
    reason     text        NOT NULL CHECK (reason IN ('failed', 'retry', 'behind')),
    dead       boolean     NOT NULL DEFAULT false,
    attempts   integer     NOT NULL DEFAULT 0,
    error      text,
    held_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (consumer, source, key, position)
);
CREATE INDEX syncline_held_dead ON syncline_held (consumer, id) WHERE dead;

-- What is due at a time, by this database's clock. subject names the thing within its kind.
CREATE TABLE syncline_timer (
    kind    text        NOT NULL,
    owner   text        NOT NULL,
    subject text        NOT NULL,
    due_at  timestamptz NOT NULL,
    PRIMARY KEY (kind, owner, subject)
);
CREATE INDEX syncline_timer_due ON syncline_timer (kind, owner, due_at);

-- Rejections that this service, as the source, has compensated: once per message.
CREATE TABLE syncline_compensated (
    message_id uuid        PRIMARY KEY,
    rejected_by text       NOT NULL,
    reason     text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
