SELECT source FROM syncline_source
WHERE role = $1 AND seen_at >= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $2
ORDER BY source
