DELETE FROM syncline_source
WHERE seen_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - 24 * 60 * 60 * 1000
