INSERT INTO syncline_stream (name, version, topics, shards) VALUES (?, ?, ?, ?)
