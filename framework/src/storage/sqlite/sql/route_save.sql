UPDATE syncline_route
SET position = $5, seal = $6, seq = $7, last_position = $8, last_id = $9,
    updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = $1
  AND EXISTS (SELECT 1 FROM syncline_lease WHERE name = $2 AND holder = $3 AND epoch = $4)
