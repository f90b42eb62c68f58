SELECT name, version, shard, stream, position, seal, seq, last_position, last_id, paused, closed,
       alarm_at, lost
FROM syncline_route
ORDER BY name, version, shard
