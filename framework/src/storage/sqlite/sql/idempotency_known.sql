SELECT message_id, digest, seq, NULL FROM syncline_idempotency WHERE key = $1
