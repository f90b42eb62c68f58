DELETE syncline_delayed
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    subject CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS batch
STRAIGHT_JOIN syncline_delayed ON syncline_delayed.id = UNHEX(batch.subject)
