DELETE FROM syncline_compensated WHERE rowid IN (
    SELECT rowid FROM syncline_compensated
    WHERE at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1 LIMIT $2
)
