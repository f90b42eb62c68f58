-- What the shares of relay processes depend on, each as a text that is another one when anything of
-- it is.
SELECT 'node ' || hex(incarnation) FROM syncline_node
UNION ALL
SELECT json_array('route', name, version, shard, stream, position, seal, seq, last_position,
                  hex(last_id), paused, closed, lost, alarm_at)
FROM syncline_route
UNION ALL
SELECT json_array('stream', name, version, topics, shards, after_position, created_at)
FROM syncline_stream
UNION ALL
SELECT json_array('member', route, hex(holder)) FROM syncline_member
WHERE expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
  AND expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
