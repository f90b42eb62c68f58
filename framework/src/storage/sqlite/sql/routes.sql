SELECT name, stream, position, seal, seq, updated_at,
       version, shard, paused, alarm_at, lost,
       problem_kind, problem, problem_at, problem_tries, problem_next_at,
       paused_by, paused_why, paused_at
FROM syncline_route
WHERE NOT closed
ORDER BY name, version, shard
