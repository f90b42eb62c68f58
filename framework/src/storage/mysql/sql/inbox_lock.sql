SELECT incarnation, watermark, last_position, last_id FROM syncline_inbox
WHERE consumer = ? AND source = ? AND stream = ? AND shard = ?
FOR UPDATE
