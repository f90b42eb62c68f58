SELECT message_id, digest, seq, xid::text FROM syncline_idempotency WHERE key = $1 FOR UPDATE
