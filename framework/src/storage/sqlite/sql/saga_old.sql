SELECT id FROM syncline_saga
WHERE ended_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1
ORDER BY ended_at LIMIT $2
