INSERT INTO syncline_timer (kind, owner, subject, due_at)
SELECT 'saga', r.owner, r.subject, UTC_TIMESTAMP(6) + INTERVAL (r.after * 1000) MICROSECOND
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    owner VARCHAR(255) PATH '$.owner', subject VARCHAR(512) PATH '$.subject',
    after BIGINT PATH '$.after')) AS r
ON DUPLICATE KEY UPDATE due_at = VALUES(due_at)
