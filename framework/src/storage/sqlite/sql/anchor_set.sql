INSERT INTO syncline_anchor (stream, version, shard, position, id)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (stream, version, shard) DO UPDATE
SET position = excluded.position, id = excluded.id
