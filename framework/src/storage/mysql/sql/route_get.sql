SELECT CONVERT(name USING utf8mb4), version, shard, CONVERT(stream USING utf8mb4), position, seal,
       seq, last_position, last_id, paused, closed,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', alarm_at) DIV 1000, lost,
       problem_kind, problem, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', problem_at) DIV 1000,
       problem_tries, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', problem_next_at) DIV 1000,
       paused_by, paused_why, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', paused_at) DIV 1000
FROM syncline_route
WHERE name = ? AND version = ? AND shard = ?
