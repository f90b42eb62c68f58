-- MySQL refuses a JSON_TABLE beside a locking clause, unless it is in a derived table.
SELECT b.saga_id, CONVERT(b.step USING utf8mb4), CONVERT(b.answer USING utf8mb4), b.undone,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000
FROM (SELECT j.saga, j.step FROM JSON_TABLE(?, '$[*]' COLUMNS (
    saga CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.saga',
    step VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.step')) AS j) AS one
STRAIGHT_JOIN syncline_barrier AS b ON b.source = ? AND b.saga_id = UNHEX(one.saga)
                                   AND b.step = CAST(one.step AS BINARY)
FOR UPDATE
