SELECT CONVERT(consumer USING utf8mb4), CONVERT(source USING utf8mb4),
       CONVERT(stream USING utf8mb4), version, shard,
       incarnation, watermark, last_position, last_id, final_position,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', updated_at) DIV 1000
FROM syncline_inbox
WHERE (? OR consumer = ?)
ORDER BY syncline_inbox.consumer, syncline_inbox.source, syncline_inbox.stream, version, shard
