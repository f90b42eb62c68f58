INSERT INTO syncline_delayed (id, topic, `key`, time, content_type, schema_version, headers, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
