SELECT CONVERT(input USING utf8mb4), CONVERT(state USING utf8mb4) FROM syncline_saga WHERE id = ?
