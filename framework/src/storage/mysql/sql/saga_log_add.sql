INSERT INTO syncline_saga_log (saga_id, step, what, attempt, detail)
SELECT UNHEX(r.id), r.step, r.what, r.attempt, r.detail
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    n FOR ORDINALITY,
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.id',
    step VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.step',
    what VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.what',
    attempt INT PATH '$.attempt',
    detail LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.detail')) AS r
ORDER BY r.n
