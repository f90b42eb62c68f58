INSERT INTO syncline_saga_lock (entity, saga_id)
SELECT value, $1 FROM json_each($2) WHERE true
ON CONFLICT (entity) DO NOTHING
