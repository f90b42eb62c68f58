UPDATE syncline_idempotency SET digest = zeroblob(32) WHERE key = $1
