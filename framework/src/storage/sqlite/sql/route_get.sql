SELECT name, version, shard, stream, position, seal, seq, last_position, last_id, paused, closed,
       alarm_at, lost,
       problem_kind, problem, problem_at, problem_tries, problem_next_at,
       paused_by, paused_why, paused_at
FROM syncline_route
WHERE name = $1 AND version = $2 AND shard = $3
