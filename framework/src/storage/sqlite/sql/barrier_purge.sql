DELETE FROM syncline_barrier WHERE rowid IN (
    SELECT rowid FROM syncline_barrier
    WHERE touched_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1
    ORDER BY touched_at LIMIT $2
)
