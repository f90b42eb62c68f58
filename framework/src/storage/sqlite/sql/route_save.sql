UPDATE syncline_route
SET position = $1, seal = $2, seq = $3, last_position = $4, last_id = $5,
    updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = $6
  AND EXISTS (SELECT 1 FROM syncline_lease WHERE name = $7 AND holder = $8 AND epoch = $9)
