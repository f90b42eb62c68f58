INSERT INTO syncline_ahead
    (consumer, source, stream, version, shard, position, message_id, prev_position, prev_id, envelope)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING
