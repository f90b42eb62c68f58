SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
FROM syncline_outbox WHERE seq > $1 ORDER BY seq LIMIT $2
