SELECT COUNT(*) FROM syncline_saga WHERE ended_at IS NULL
