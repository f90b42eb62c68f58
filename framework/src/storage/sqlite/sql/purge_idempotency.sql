DELETE FROM syncline_idempotency WHERE rowid IN (
    SELECT rowid FROM syncline_idempotency
    WHERE created_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1 LIMIT $2
)
