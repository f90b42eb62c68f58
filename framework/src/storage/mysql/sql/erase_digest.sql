UPDATE syncline_idempotency SET digest = UNHEX(REPEAT('00', 32)) WHERE `key` = ?
