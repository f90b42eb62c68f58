SELECT subject FROM syncline_timer
WHERE kind = $1 AND owner = $2 AND due_at <= clock_timestamp()
ORDER BY due_at LIMIT $3
