INSERT INTO syncline_inbox
    (consumer, source, stream, version, shard, incarnation, watermark, last_position, last_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE shard = shard
