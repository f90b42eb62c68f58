INSERT INTO syncline_stream (name, version, topics, shards) VALUES ($1, $2, $3, $4)
