UPDATE syncline_idempotency
SET message_id = $1, digest = $2, seq = $3, xid = pg_current_xact_id()
WHERE key = $4
