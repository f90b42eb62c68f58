INSERT INTO syncline_route (name, version, shard, stream, position, seq, last_position, closed)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (name, version, shard) DO NOTHING
