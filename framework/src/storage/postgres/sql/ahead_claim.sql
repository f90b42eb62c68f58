UPDATE syncline_ahead SET envelope = NULL
WHERE consumer = $1 AND source = $2 AND stream = $3 AND version = $4 AND shard = $5
  AND position = $6 AND envelope IS NOT NULL
