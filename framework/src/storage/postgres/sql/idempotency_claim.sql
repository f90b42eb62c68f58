-- Waits for another transaction that takes the key.
INSERT INTO syncline_idempotency (key, message_id, digest) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
