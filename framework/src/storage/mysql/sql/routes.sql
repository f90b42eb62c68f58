SELECT CONVERT(name USING utf8mb4), CONVERT(stream USING utf8mb4), position, seal, seq,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', updated_at) DIV 1000, version, shard, paused, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', alarm_at) DIV 1000, lost,
       problem_kind, problem, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', problem_at) DIV 1000,
       problem_tries, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', problem_next_at) DIV 1000,
       paused_by, paused_why, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', paused_at) DIV 1000
FROM syncline_route
WHERE NOT closed
ORDER BY name, version, shard
