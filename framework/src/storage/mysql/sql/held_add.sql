INSERT INTO syncline_held
    (consumer, source, `key`, stream, shard, position, message_id, topic, envelope, reason, attempts,
     error, dead, unknown)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE id = id
