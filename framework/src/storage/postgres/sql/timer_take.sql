UPDATE syncline_timer SET due_at = clock_timestamp() + $4 * interval '1 millisecond'
WHERE kind = $1 AND owner = $2 AND subject = $3 AND due_at <= clock_timestamp()
