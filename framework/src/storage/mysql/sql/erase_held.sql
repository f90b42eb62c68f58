SELECT id, CONVERT(consumer USING utf8mb4), CONVERT(source USING utf8mb4), CONVERT(`key` USING utf8mb4), envelope
FROM syncline_held WHERE id > ? ORDER BY id LIMIT ?
