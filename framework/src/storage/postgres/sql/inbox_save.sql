UPDATE syncline_inbox
SET incarnation = $5, watermark = $6, last_position = $7, last_id = $8, updated_at = now()
WHERE consumer = $1 AND source = $2 AND stream = $3 AND shard = $4
