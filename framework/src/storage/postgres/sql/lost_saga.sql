LOCK TABLE syncline_saga IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM syncline_saga WHERE ended_at IS NULL;
