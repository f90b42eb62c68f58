SELECT incarnation, watermark, last_position, last_id FROM syncline_inbox
WHERE consumer = $1 AND source = $2 AND stream = $3 AND shard = $4
