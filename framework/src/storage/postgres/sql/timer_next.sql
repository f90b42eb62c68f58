SELECT ceil(extract(epoch FROM due_at - clock_timestamp()) * 1000)::bigint
FROM syncline_timer
WHERE kind = $1 AND owner = $2
ORDER BY due_at LIMIT 1
