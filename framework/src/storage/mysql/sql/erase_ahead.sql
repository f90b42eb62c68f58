UPDATE syncline_ahead SET envelope = ?
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
  AND position = ? AND envelope IS NOT NULL
