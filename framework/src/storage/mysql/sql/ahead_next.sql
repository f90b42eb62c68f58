SELECT position, message_id, prev_position, prev_id, envelope FROM syncline_ahead
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
  AND position > ?
ORDER BY position LIMIT ?
