UPDATE syncline_route
SET position = $1, seal = $2, seq = $3, last_position = $4, last_id = $5, closed = $6,
    alarm_at = NULL, lost = 0, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = $7 AND version = $8 AND shard = $9
  AND EXISTS (SELECT 1 FROM syncline_lease WHERE name = $10 AND holder = $11 AND epoch = $12)
