SELECT CONVERT(saga USING utf8mb4), version, COUNT(*) FROM syncline_saga
WHERE ended_at IS NULL GROUP BY saga, version ORDER BY saga, version
