UPDATE syncline_idempotency SET message_id = $1, digest = $2, seq = $3
WHERE key = $4
