INSERT INTO syncline_inbox
    (consumer, source, stream, version, shard, incarnation, watermark, last_position, last_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
