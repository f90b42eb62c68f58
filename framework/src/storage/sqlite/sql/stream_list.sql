SELECT name, version, topics, shards, after_position, created_at
FROM syncline_stream ORDER BY name, version
