SELECT id, CONVERT(topic USING utf8mb4), CONVERT(`key` USING utf8mb4)
FROM syncline_outbox FORCE INDEX (syncline_outbox_position)
WHERE position = 0 ORDER BY seq LIMIT ?
