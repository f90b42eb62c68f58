SELECT incarnation, watermark, last_position, last_id, final_position, shard FROM syncline_inbox
WHERE consumer = ? AND source = ? AND stream = ? AND version = ?
ORDER BY shard
FOR UPDATE
