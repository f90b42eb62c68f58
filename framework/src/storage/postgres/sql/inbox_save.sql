UPDATE syncline_inbox
SET incarnation = $1, watermark = $2, last_position = $3, last_id = $4, updated_at = now()
WHERE consumer = $5 AND source = $6 AND stream = $7 AND shard = $8
