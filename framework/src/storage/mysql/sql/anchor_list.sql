SELECT CONVERT(stream USING utf8mb4), version, shard, position, id FROM syncline_anchor
