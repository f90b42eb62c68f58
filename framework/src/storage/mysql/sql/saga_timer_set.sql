INSERT INTO syncline_timer (kind, owner, subject, due_at)
SELECT 'saga', r.owner, r.subject, UTC_TIMESTAMP(6) + INTERVAL (r.after * 1000) MICROSECOND
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.owner',
    subject VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.subject',
    after BIGINT PATH '$.after')) AS r
ON DUPLICATE KEY UPDATE due_at = VALUES(due_at)
