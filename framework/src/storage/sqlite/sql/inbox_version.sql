SELECT incarnation, watermark, last_position, last_id, final_position, shard FROM syncline_inbox
WHERE consumer = $1 AND source = $2 AND stream = $3 AND version = $4
ORDER BY shard
