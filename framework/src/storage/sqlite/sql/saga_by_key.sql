SELECT id, input FROM syncline_saga WHERE saga = $1 AND start_key = $2
