INSERT INTO syncline_outbox (id, topic, `key`, time, content_type, schema_version, headers, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
