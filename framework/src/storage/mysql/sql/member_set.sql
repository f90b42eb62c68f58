INSERT INTO syncline_member (route, holder, expires_at)
VALUES (?, ?, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND)
ON DUPLICATE KEY UPDATE expires_at = VALUES(expires_at)
