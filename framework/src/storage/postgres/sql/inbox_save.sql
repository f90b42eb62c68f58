-- Only in the transaction that has locked the row, or has made or saved it: a handler may have ended
-- that one, alone or to begin another.
UPDATE syncline_inbox
SET incarnation = $1, watermark = $2, last_position = $3, last_id = $4, final_position = $5,
    updated_at = now()
WHERE consumer = $6 AND source = $7 AND stream = $8 AND version = $9 AND shard = $10
  AND pg_current_xact_id()::xid IN (xmin, xmax)
