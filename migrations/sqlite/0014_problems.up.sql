-- Why a shard of a route does not move, as its sender has found it, and since when; nothing while it
-- moves. problem_kind: backoff, diverged, refused or trimmed.
ALTER TABLE syncline_route ADD COLUMN problem_kind TEXT;
ALTER TABLE syncline_route ADD COLUMN problem TEXT;
ALTER TABLE syncline_route ADD COLUMN problem_at INTEGER;
