SELECT CONVERT(CASE WHEN ended_at IS NULL THEN 'open' ELSE 'ended' END USING utf8mb4), CONVERT(state USING utf8mb4) FROM syncline_saga WHERE id = ?
FOR UPDATE
