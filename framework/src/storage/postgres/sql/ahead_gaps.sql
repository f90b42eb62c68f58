SELECT ahead.consumer, ahead.source, ahead.stream, ahead.version, ahead.shard,
       inbox.incarnation, inbox.watermark, inbox.last_position, inbox.last_id,
       min(ahead.position), count(ahead.envelope), coalesce(sum(octet_length(ahead.envelope)), 0)::bigint,
       (extract(epoch FROM min(ahead.arrived_at)) * 1000)::bigint
FROM syncline_ahead AS ahead
JOIN syncline_inbox AS inbox
  ON inbox.consumer = ahead.consumer AND inbox.source = ahead.source
 AND inbox.stream = ahead.stream AND inbox.version = ahead.version AND inbox.shard = ahead.shard
WHERE ($1 OR ahead.consumer = $2)
GROUP BY ahead.consumer, ahead.source, ahead.stream, ahead.version, ahead.shard,
         inbox.incarnation, inbox.watermark, inbox.last_position, inbox.last_id
ORDER BY 1, 2, 3, 4, 5
