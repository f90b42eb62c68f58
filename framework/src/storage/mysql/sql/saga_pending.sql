-- Undecided events in order, and then the timers (of those that are asked for) that are due.
SELECT e.saga_id, e.id, CONVERT(e.event USING utf8mb4)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga_event AS e ON e.saga_id = UNHEX(one.id)
UNION ALL
SELECT UNHEX(LEFT(t.subject, 32)), 0, CONVERT(t.subject USING utf8mb4)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.owner',
    subject VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.subject')) AS r
STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = CAST(r.owner AS BINARY)
                                 AND t.subject = CAST(r.subject AS BINARY)
WHERE t.due_at <= UTC_TIMESTAMP(6)
ORDER BY 2
