INSERT INTO syncline_incarnation (incarnation, agreed) VALUES (?, ?)
ON DUPLICATE KEY UPDATE agreed = LEAST(agreed, VALUES(agreed))
