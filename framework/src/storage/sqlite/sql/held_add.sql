INSERT INTO syncline_held
    (consumer, source, key, stream, shard, position, message_id, topic, envelope, reason, attempts,
     error, dead, unknown)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (consumer, source, key, position, message_id) DO NOTHING
