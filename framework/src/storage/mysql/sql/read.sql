SELECT position, seq, id, CONVERT(topic USING utf8mb4), CONVERT(`key` USING utf8mb4), time,
       CONVERT(content_type USING utf8mb4), schema_version, CONVERT(headers USING utf8mb4), data
FROM syncline_outbox FORCE INDEX (syncline_outbox_position)
WHERE position > ? ORDER BY position LIMIT ?
