SELECT due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM syncline_timer
WHERE kind = $1 AND owner = $2
ORDER BY due_at LIMIT 1
