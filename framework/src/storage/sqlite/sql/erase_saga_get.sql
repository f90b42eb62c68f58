SELECT CASE WHEN ended_at IS NULL THEN 'open' ELSE 'ended' END, state FROM syncline_saga WHERE id = $1
