UPDATE syncline_timer SET due_at = clock_timestamp() + $1 * interval '1 millisecond'
WHERE kind = $2 AND owner = $3 AND subject = $4 AND due_at <= clock_timestamp()
