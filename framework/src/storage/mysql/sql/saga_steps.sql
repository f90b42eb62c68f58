-- The states of instances (with -1), and their timers with the time at which each is due.
SELECT s.id, CONVERT(s.state USING utf8mb4), CAST(-1 AS SIGNED)
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(one.id)
UNION ALL
SELECT s.id, CONVERT(t.subject USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', t.due_at) DIV 1000
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(one.id)
STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = s.owner
                                 AND UNHEX(LEFT(t.subject, 32)) = s.id
