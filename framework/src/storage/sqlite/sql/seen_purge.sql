DELETE FROM syncline_seen WHERE rowid IN (
    SELECT rowid FROM syncline_seen
    WHERE consumer = $1 AND seen_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $2
    ORDER BY seen_at LIMIT $3
)
