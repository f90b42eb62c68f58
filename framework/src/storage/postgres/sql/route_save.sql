-- The shared lock makes a take-over wait for this statement, or this statement see it.
WITH lease AS (
    SELECT 1 FROM syncline_lease WHERE name = $2 AND holder = $3 AND epoch = $4 FOR SHARE
)
UPDATE syncline_route AS route
SET position = $5, seal = $6, seq = $7, last_position = $8, last_id = $9, updated_at = now()
FROM lease
WHERE route.name = $1
