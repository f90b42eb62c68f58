-- What the shares of relay processes depend on, each as a text that is another one when anything of
-- it is.
SELECT CONCAT_WS(' ', 'node', HEX(incarnation)) FROM syncline_node
UNION ALL
SELECT CONVERT(CONCAT_WS(' ', 'route', name, version, shard, stream, position, seal, seq,
                         last_position, HEX(last_id), paused, closed, lost, alarm_at)
               USING utf8mb4)
FROM syncline_route
UNION ALL
SELECT CONVERT(CONCAT_WS(' ', 'stream', name, version, topics, shards, after_position, created_at)
               USING utf8mb4)
FROM syncline_stream
UNION ALL
SELECT CONVERT(CONCAT_WS(' ', 'member', route, HEX(holder)) USING utf8mb4)
FROM syncline_member
WHERE expires_at > UTC_TIMESTAMP(6) AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE
