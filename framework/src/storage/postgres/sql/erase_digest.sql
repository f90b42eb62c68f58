UPDATE syncline_idempotency SET digest = decode(repeat('00', 32), 'hex') WHERE key = $1
