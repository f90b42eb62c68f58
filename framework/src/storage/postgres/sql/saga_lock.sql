INSERT INTO syncline_saga_lock (entity, saga_id)
SELECT entity, $1 FROM json_array_elements_text($2::json) AS one (entity) ORDER BY entity
ON CONFLICT (entity) DO NOTHING
