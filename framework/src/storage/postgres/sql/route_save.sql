-- The shared lock makes a take-over wait for this statement, or this statement see it.
WITH lease AS (
    SELECT 1 FROM syncline_lease WHERE name = $10 AND holder = $11 AND epoch = $12 FOR SHARE
)
UPDATE syncline_route AS route
SET position = $1, seal = $2, seq = $3, last_position = $4, last_id = $5, closed = $6,
    alarm_at = NULL, lost = false, updated_at = now()
FROM lease
WHERE route.name = $7 AND route.version = $8 AND route.shard = $9
