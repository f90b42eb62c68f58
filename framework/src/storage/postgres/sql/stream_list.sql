SELECT name, version, topics, shards, after_position, (extract(epoch FROM created_at) * 1000)::bigint
FROM syncline_stream ORDER BY name, version
