INSERT INTO syncline_ahead
    (consumer, source, stream, version, shard, position, message_id, prev_position, prev_id, envelope)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
