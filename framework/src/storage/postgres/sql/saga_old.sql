SELECT id FROM syncline_saga
WHERE ended_at < statement_timestamp() - $1 * interval '1 millisecond'
ORDER BY ended_at LIMIT $2
