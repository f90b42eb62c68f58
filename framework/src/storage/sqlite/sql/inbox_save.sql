UPDATE syncline_inbox
SET incarnation = $1, watermark = $2, last_position = $3, last_id = $4, final_position = $5,
    updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE consumer = $6 AND source = $7 AND stream = $8 AND version = $9 AND shard = $10
