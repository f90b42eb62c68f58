-- Which of these instances are known here and not over.
SELECT s.id
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(one.id)
WHERE s.ended_at IS NULL
