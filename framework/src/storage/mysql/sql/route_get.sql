SELECT CONVERT(stream USING utf8mb4), position, seal, seq, last_position, last_id
FROM syncline_route WHERE name = ?
