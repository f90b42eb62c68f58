SELECT input, state FROM syncline_saga WHERE id = $1
