SELECT subject FROM syncline_timer
WHERE kind = $1 AND owner = $2 AND due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
ORDER BY due_at LIMIT $3
