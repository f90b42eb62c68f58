DELETE t
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(one.id)
STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = s.owner
                                 AND UNHEX(LEFT(t.subject, 32)) = s.id
