DELETE t
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga_event AS t ON t.saga_id = UNHEX(one.id)
