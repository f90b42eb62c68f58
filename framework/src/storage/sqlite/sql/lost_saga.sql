SELECT count(*) FROM syncline_saga WHERE ended_at IS NULL;
