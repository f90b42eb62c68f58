-- Former incarnations of this database, and lost ones that an operator has named: what
-- follows them agrees with them up to a position.
CREATE TABLE syncline_incarnation (
    incarnation uuid        PRIMARY KEY,
    agreed      bigint      NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where the log ended when a process began to seal it, the newest ones. The first one after a
-- backup was restored says how far the backup reached.
CREATE TABLE syncline_term (
    term     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    head     bigint      NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- After a restore a position can be another message's.
ALTER TABLE syncline_held
    DROP CONSTRAINT syncline_held_consumer_source_key_position_key,
    ADD CONSTRAINT syncline_held_position UNIQUE (consumer, source, key, position, message_id);
