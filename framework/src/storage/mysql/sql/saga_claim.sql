-- Instances that have something to decide, locked until the transaction ends. More are looked at
-- than are taken, so that those that others have locked do not hide the rest.
SELECT s.id, CONVERT(s.saga USING utf8mb4), s.version, CONVERT(s.start_key USING utf8mb4),
       CONVERT(s.input USING utf8mb4),
       CONVERT(s.state USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))
FROM (
    SELECT * FROM (
        SELECT e.saga_id
        FROM JSON_TABLE(?, '$[*]' COLUMNS (
            owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
        STRAIGHT_JOIN syncline_saga_event AS e ON e.owner = CAST(o.owner AS BINARY)
        STRAIGHT_JOIN syncline_saga AS s ON s.id = e.saga_id
        WHERE s.ended_at IS NULL AND s.problem IS NULL
        LIMIT 1024
    ) AS event
    UNION
    SELECT * FROM (
        SELECT UNHEX(LEFT(t.subject, 32))
        FROM JSON_TABLE(?, '$[*]' COLUMNS (
            owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS o
        STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = CAST(o.owner AS BINARY)
        STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(LEFT(t.subject, 32))
        WHERE s.ended_at IS NULL AND s.problem IS NULL
          AND t.due_at <= UTC_TIMESTAMP(6)
        LIMIT 1024
    ) AS timer
) AS ready
STRAIGHT_JOIN syncline_saga AS s ON s.id = ready.saga_id
WHERE s.ended_at IS NULL AND s.problem IS NULL
  AND LOCATE(LOWER(HEX(s.id)), ?) = 0
LIMIT ?
FOR UPDATE SKIP LOCKED
