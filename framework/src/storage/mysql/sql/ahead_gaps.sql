SELECT CONVERT(ahead.consumer USING utf8mb4), CONVERT(ahead.source USING utf8mb4), CONVERT(ahead.stream USING utf8mb4), ahead.version, ahead.shard,
       inbox.incarnation, inbox.watermark, inbox.last_position, inbox.last_id,
       min(ahead.position), count(ahead.envelope), CAST(coalesce(sum(length(ahead.envelope)), 0) AS SIGNED),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', min(ahead.arrived_at)) DIV 1000
FROM syncline_ahead AS ahead
JOIN syncline_inbox AS inbox
  ON inbox.consumer = ahead.consumer AND inbox.source = ahead.source
 AND inbox.stream = ahead.stream AND inbox.version = ahead.version AND inbox.shard = ahead.shard
WHERE (? OR ahead.consumer = ?)
GROUP BY ahead.consumer, ahead.source, ahead.stream, ahead.version, ahead.shard,
         inbox.incarnation, inbox.watermark, inbox.last_position, inbox.last_id
ORDER BY 1, 2, 3, 4, 5
