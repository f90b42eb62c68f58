-- The messages of a JSON array of ids, in its order.
INSERT INTO syncline_outbox (id, topic, `key`, time, content_type, schema_version, headers, data)
SELECT id, topic, `key`, time, content_type, schema_version, headers, data
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    place FOR ORDINALITY,
    subject CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS batch
STRAIGHT_JOIN syncline_delayed ON syncline_delayed.id = UNHEX(batch.subject)
ORDER BY batch.place
