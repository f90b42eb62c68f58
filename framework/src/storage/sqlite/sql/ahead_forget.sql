DELETE FROM syncline_ahead
WHERE consumer = $1 AND source = $2 AND stream = $3 AND version = $4 AND shard = $5
  AND position > $6
