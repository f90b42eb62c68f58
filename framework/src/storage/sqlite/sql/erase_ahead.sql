UPDATE syncline_ahead SET envelope = $1
WHERE consumer = $2 AND source = $3 AND stream = $4 AND version = $5 AND shard = $6
  AND position = $7 AND envelope IS NOT NULL
