SELECT saga, version, count(*) FROM syncline_saga WHERE ended_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2
