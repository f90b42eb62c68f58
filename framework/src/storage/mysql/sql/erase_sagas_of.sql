SELECT id FROM syncline_saga WHERE start_key = ? ORDER BY id
