UPDATE syncline_idempotency SET message_id = ?, digest = ?, seq = ?
WHERE `key` = ?
