INSERT INTO syncline_parked (consumer, source, `key`) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE `key` = `key`
