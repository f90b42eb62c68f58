SELECT id, CONVERT(operator USING utf8mb4), CONVERT(command USING utf8mb4), CONVERT(target USING utf8mb4),
       CONVERT(why USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', began_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', ended_at) DIV 1000,
       affected, CONVERT(problem USING utf8mb4)
FROM syncline_operation
ORDER BY began_at DESC, id DESC
LIMIT ?
