SELECT incarnation, watermark, last_position, last_id, final_position FROM syncline_inbox
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
