SELECT name, stream, position, seal, seq, (extract(epoch FROM updated_at) * 1000)::bigint,
       version, shard, paused, (extract(epoch FROM alarm_at) * 1000)::bigint, lost
FROM syncline_route
WHERE NOT closed
ORDER BY name, version, shard
