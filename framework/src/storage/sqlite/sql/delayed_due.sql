SELECT subject FROM syncline_timer
WHERE kind = $1 AND owner = $2 AND due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
  AND EXISTS (SELECT 1 FROM syncline_lease
              WHERE name = $3 AND holder = $4 AND epoch = $5
                AND expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER))
ORDER BY due_at, subject LIMIT $6
