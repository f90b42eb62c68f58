INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data, checked)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, true)
RETURNING seq, xid
