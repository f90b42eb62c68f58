SELECT consumer, source, stream, version, shard,
       incarnation, watermark, last_position, last_id, final_position,
       (extract(epoch FROM updated_at) * 1000)::bigint
FROM syncline_inbox
WHERE ($1 OR consumer = $2)
ORDER BY consumer, source, stream, version, shard
