SELECT name, version, shard, stream, position, seal, seq, last_position, last_id, paused, closed,
       (extract(epoch FROM alarm_at) * 1000)::bigint, lost,
       problem_kind, problem, (extract(epoch FROM problem_at) * 1000)::bigint,
       problem_tries, (extract(epoch FROM problem_next_at) * 1000)::bigint,
       paused_by, paused_why, (extract(epoch FROM paused_at) * 1000)::bigint
FROM syncline_route
WHERE name = $1 AND version = $2 AND shard = $3
