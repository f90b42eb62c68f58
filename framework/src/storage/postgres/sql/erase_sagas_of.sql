SELECT id FROM syncline_saga WHERE start_key = $1 ORDER BY id
