SELECT name, stream, position, seal, seq, (extract(epoch FROM updated_at) * 1000)::bigint,
       version, shard, paused
FROM syncline_route
WHERE NOT closed
ORDER BY name, version, shard
