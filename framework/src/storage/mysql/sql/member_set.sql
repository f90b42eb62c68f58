INSERT INTO syncline_member (route, holder, expires_at)
SELECT CAST(ours.route AS BINARY), ?, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    route VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS ours
ON DUPLICATE KEY UPDATE expires_at = VALUES(expires_at)
