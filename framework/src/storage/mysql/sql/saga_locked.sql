-- MySQL refuses a JSON_TABLE beside a locking clause, unless it is in a derived table.
SELECT CONVERT(l.entity USING utf8mb4), l.saga_id
FROM (SELECT j.entity FROM JSON_TABLE(?, '$[*]' COLUMNS (
    entity VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS j) AS one
STRAIGHT_JOIN syncline_saga_lock AS l ON l.entity = CAST(one.entity AS BINARY)
WHERE l.saga_id <> ?
ORDER BY 1 LIMIT 1
LOCK IN SHARE MODE
