-- Waits for another transaction that takes the key. An INSERT that fails would leave a shared lock
-- behind, over which two who repeat a key would deadlock.
INSERT INTO syncline_idempotency (`key`, message_id, digest) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE seq = seq
