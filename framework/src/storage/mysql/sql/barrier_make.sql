-- The update that changes nothing locks a row that is there.
INSERT INTO syncline_barrier (source, saga_id, step, answer)
SELECT ?, UNHEX(one.saga), one.step, ''
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    saga CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.saga',
    step VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.step')) AS one
ON DUPLICATE KEY UPDATE step = syncline_barrier.step
