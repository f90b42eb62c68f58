DELETE FROM syncline_ahead
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
  AND position > ?
