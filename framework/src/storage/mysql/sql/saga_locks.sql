SELECT CONVERT(entity USING utf8mb4), saga_id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', locked_at) DIV 1000 FROM syncline_saga_lock ORDER BY entity LIMIT ?
