-- This database's identity: every envelope carries the incarnation.
CREATE TABLE syncline_node (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    incarnation uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO syncline_node DEFAULT VALUES;

-- CACHE 1: a session must not set sequence values aside.
CREATE SEQUENCE syncline_outbox_seq AS bigint CACHE 1;

-- Append-only. xid stands before seq so that the transaction id is assigned
-- before the sequence value; the seal's bounds rest on that order.
CREATE TABLE syncline_outbox (
    xid            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    seq            bigint      NOT NULL DEFAULT nextval('syncline_outbox_seq'),
    id             uuid        NOT NULL DEFAULT gen_random_uuid(),
    topic          text        NOT NULL,
    key            text,
    time           timestamptz NOT NULL DEFAULT now(),
    content_type   text        NOT NULL DEFAULT 'application/json',
    schema_version integer     NOT NULL DEFAULT 1,
    headers        text        NOT NULL DEFAULT '{}',
    data           bytea       NOT NULL,
    CONSTRAINT syncline_outbox_pkey PRIMARY KEY (seq)
);
ALTER SEQUENCE syncline_outbox_seq OWNED BY syncline_outbox.seq;

-- One row closes one batch of the log. The primary key is the fence between sealers.
CREATE TABLE syncline_seal (
    seal           bigint      PRIMARY KEY,
    first_position bigint      NOT NULL,
    count          bigint      NOT NULL CHECK (count >= 0),
    seq_hi         bigint      NOT NULL,
    prev_hi        bigint      NOT NULL,
    prev2_hi       bigint      NOT NULL,
    late_lo        bigint      NOT NULL,
    snapshot       pg_snapshot NOT NULL,
    lows           jsonb       NOT NULL,
    sealed_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX syncline_seal_position ON syncline_seal (first_position);
INSERT INTO syncline_seal (seal, first_position, count, seq_hi, prev_hi, prev2_hi, late_lo, snapshot, lows)
VALUES (0, 1, 0, 0, 0, 0, 0, pg_current_snapshot(), '{}');
