SELECT subject, ceil(extract(epoch FROM due_at - clock_timestamp()) * 1000)::bigint
FROM syncline_timer
WHERE kind = $1 AND owner = $2 AND due_at <= clock_timestamp() + $3 * interval '1 millisecond'
ORDER BY due_at LIMIT $4
