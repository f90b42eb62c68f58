SELECT CONVERT(consumer USING utf8mb4), envelope FROM syncline_ahead WHERE envelope IS NOT NULL
ORDER BY consumer, source, stream, version, shard, position
