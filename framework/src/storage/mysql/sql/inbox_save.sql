UPDATE syncline_inbox
SET incarnation = ?, watermark = ?, last_position = ?, last_id = ?, final_position = ?,
    updated_at = UTC_TIMESTAMP(6)
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
