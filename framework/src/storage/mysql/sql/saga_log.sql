SELECT CONVERT(step USING utf8mb4), CONVERT(what USING utf8mb4), attempt, CONVERT(detail USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', at) DIV 1000
FROM syncline_saga_log WHERE saga_id = ? ORDER BY id
