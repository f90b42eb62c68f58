-- In how many milliseconds something is due: nought when there are undecided events.
SELECT due FROM (
    SELECT CAST(0 AS SIGNED) AS due
    FROM JSON_TABLE(?, '$[*]' COLUMNS (
        owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
    STRAIGHT_JOIN syncline_saga_event AS e ON e.owner = CAST(o.owner AS BINARY)
    STRAIGHT_JOIN syncline_saga AS s ON s.id = e.saga_id
    WHERE s.ended_at IS NULL AND s.problem IS NULL
    LIMIT 1
) AS event
UNION ALL
SELECT due FROM (
    SELECT CAST(GREATEST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), t.due_at) DIV 1000, 0) AS SIGNED) AS due
    FROM JSON_TABLE(?, '$[*]' COLUMNS (
        owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
    STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = CAST(o.owner AS BINARY)
    STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(LEFT(t.subject, 32))
    WHERE t.due_at <= UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
      AND s.ended_at IS NULL AND s.problem IS NULL
    ORDER BY t.due_at LIMIT 1
) AS timer
ORDER BY 1 LIMIT 1
