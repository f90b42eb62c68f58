SELECT id, CONVERT(kind USING utf8mb4), CONVERT(name USING utf8mb4), CONVERT(host USING utf8mb4), pid,
       CONVERT(program USING utf8mb4), CONVERT(defined USING utf8mb4), CONVERT(problems USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', started_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', seen_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000
FROM syncline_process
ORDER BY kind, name, started_at, id
