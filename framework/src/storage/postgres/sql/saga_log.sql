SELECT step, what, attempt, detail, (extract(epoch FROM at) * 1000)::bigint
FROM syncline_saga_log WHERE saga_id = $1 ORDER BY id
