SELECT step, what, attempt, detail, at
FROM syncline_saga_log WHERE saga_id = $1 ORDER BY id
