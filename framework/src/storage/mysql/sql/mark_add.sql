INSERT INTO syncline_mark (position) VALUES (?)
ON DUPLICATE KEY UPDATE position = position
