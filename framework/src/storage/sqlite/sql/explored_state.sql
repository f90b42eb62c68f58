SELECT state, problem FROM syncline_saga WHERE id = ?
