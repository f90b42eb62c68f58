INSERT INTO syncline_timer (kind, owner, subject, due_at)
VALUES (?, ?, ?, ?)
ON DUPLICATE KEY UPDATE due_at = VALUES(due_at)
