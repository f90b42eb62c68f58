INSERT INTO syncline_anchor (stream, version, shard, position, id)
VALUES (?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE position = VALUES(position), id = VALUES(id)
