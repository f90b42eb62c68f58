-- What is there for those who wait. The log as in seal_rows.sql.
SELECT 'head' AS what, '' AS owner, position AS number FROM syncline_head WHERE ?
UNION ALL
SELECT 'unsealed', '', 0 FROM syncline_head
WHERE ? AND EXISTS (SELECT 1 FROM syncline_outbox FORCE INDEX (syncline_outbox_position)
                    WHERE syncline_outbox.position = 0)
UNION ALL
SELECT 'delayed', '', due FROM (
    SELECT (TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), due_at) + 999) DIV 1000 AS due
    FROM syncline_timer
    WHERE ? AND kind = 'delayed' AND owner = ''
    ORDER BY due_at LIMIT 1
) AS next_delayed
UNION ALL
SELECT 'parked', o.consumer,
       (SELECT (TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), t.due_at) + 999) DIV 1000
        FROM syncline_timer AS t
        WHERE t.kind = 'parked' AND t.owner = CAST(o.consumer AS BINARY)
        ORDER BY t.due_at LIMIT 1)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    consumer VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
UNION ALL
SELECT 'ahead', o.consumer, 0
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    consumer VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
WHERE EXISTS (SELECT 1 FROM syncline_ahead AS a WHERE a.consumer = CAST(o.consumer AS BINARY))
UNION ALL
SELECT 'saga', '', due FROM (
    SELECT 0 AS due
    FROM JSON_TABLE(?, '$[*]' COLUMNS (
        owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
    STRAIGHT_JOIN syncline_saga_event AS e ON e.owner = CAST(o.owner AS BINARY)
    STRAIGHT_JOIN syncline_saga AS s ON s.id = e.saga_id
    WHERE s.ended_at IS NULL AND s.problem IS NULL
    LIMIT 1
) AS event
UNION ALL
SELECT 'saga', '', due FROM (
    SELECT (TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), t.due_at) + 999) DIV 1000 AS due
    FROM JSON_TABLE(?, '$[*]' COLUMNS (
        owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
    STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = CAST(o.owner AS BINARY)
    STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(LEFT(t.subject, 32))
    WHERE t.due_at <= UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
      AND s.ended_at IS NULL AND s.problem IS NULL
    ORDER BY t.due_at LIMIT 1
) AS timer
