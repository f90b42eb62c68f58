SELECT CONVERT(name USING utf8mb4), version, CONVERT(topics USING utf8mb4), shards, after_position,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created_at) DIV 1000
FROM syncline_stream ORDER BY syncline_stream.name, version
