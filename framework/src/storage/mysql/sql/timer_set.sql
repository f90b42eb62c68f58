INSERT INTO syncline_timer (kind, owner, subject, due_at)
VALUES (?, ?, ?, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND)
ON DUPLICATE KEY UPDATE due_at = VALUES(due_at)
