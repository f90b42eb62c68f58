-- The outcome of a shard's tries beside its problem (0014): how many have failed in a row, and when the
-- next one is. Who paused a route, why and when; nothing is known of one that was paused before.
ALTER TABLE syncline_route
    ADD COLUMN problem_tries   integer,
    ADD COLUMN problem_next_at timestamptz,
    ADD COLUMN paused_by       text,
    ADD COLUMN paused_why      text,
    ADD COLUMN paused_at       timestamptz;
