-- The messages of a JSON array of ids, in its order.
INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data)
SELECT d.id, topic, d.key, time, content_type, schema_version, headers, data
FROM json_each($1) AS batch JOIN syncline_delayed AS d ON d.id = unhex(batch.value)
ORDER BY batch.key
