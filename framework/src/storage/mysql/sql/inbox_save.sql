UPDATE syncline_inbox
SET incarnation = ?, watermark = ?, last_position = ?, last_id = ?, updated_at = UTC_TIMESTAMP(6)
WHERE consumer = ? AND source = ? AND stream = ? AND shard = ?
