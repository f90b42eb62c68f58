SELECT owner, count(*), (extract(epoch FROM min(due_at)) * 1000)::bigint
FROM syncline_timer
WHERE kind = $1 AND ($2 OR owner = $3) AND due_at <= clock_timestamp() - $4 * interval '1 millisecond'
GROUP BY owner ORDER BY owner
