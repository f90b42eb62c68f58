INSERT INTO syncline_route (name, version, shard, stream, position, seq, last_position, closed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE name = name
