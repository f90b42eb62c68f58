INSERT INTO syncline_set_aside (position, seq, problem) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE position = position
