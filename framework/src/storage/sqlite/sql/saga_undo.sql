DELETE FROM syncline_saga WHERE id = $1
