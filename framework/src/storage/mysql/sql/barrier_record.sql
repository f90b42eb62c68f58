UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    saga CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.saga',
    step VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.step',
    answer LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.answer',
    undone INTEGER PATH '$.undone',
    not_before BIGINT PATH '$.not_before')) AS r
STRAIGHT_JOIN syncline_barrier AS b ON b.saga_id = UNHEX(r.saga) AND b.step = CAST(r.step AS BINARY)
SET b.answer = r.answer, b.undone = r.undone,
    b.touched_at = GREATEST(UTC_TIMESTAMP(6),
                            TIMESTAMP '1970-01-01 00:00:00' + INTERVAL (r.not_before * 1000) MICROSECOND)
WHERE b.source = ?
