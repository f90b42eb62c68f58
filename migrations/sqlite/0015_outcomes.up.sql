-- The outcome of a shard's tries beside its problem (0014): how many have failed in a row, and when the
-- next one is. Who paused a route, why and when; nothing is known of one that was paused before.
ALTER TABLE syncline_route ADD COLUMN problem_tries INTEGER;
ALTER TABLE syncline_route ADD COLUMN problem_next_at INTEGER;
ALTER TABLE syncline_route ADD COLUMN paused_by TEXT;
ALTER TABLE syncline_route ADD COLUMN paused_why TEXT;
ALTER TABLE syncline_route ADD COLUMN paused_at INTEGER;
