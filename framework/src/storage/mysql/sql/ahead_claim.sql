UPDATE syncline_ahead SET envelope = NULL
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
  AND position = ? AND envelope IS NOT NULL
