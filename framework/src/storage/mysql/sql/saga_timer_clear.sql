DELETE t
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.owner',
    subject VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.subject')) AS r
STRAIGHT_JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = CAST(r.owner AS BINARY)
                                 AND t.subject = CAST(r.subject AS BINARY)
