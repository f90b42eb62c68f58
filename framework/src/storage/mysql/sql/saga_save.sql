UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.id',
    status VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.status',
    state LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.state',
    problem LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.problem',
    trouble LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.trouble',
    stuck INT PATH '$.stuck',
    ended INT PATH '$.ended')) AS r
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(r.id)
SET s.status = r.status, s.state = r.state, s.problem = r.problem, s.updated_at = UTC_TIMESTAMP(6),
    s.stuck_at = CASE WHEN r.stuck THEN COALESCE(s.stuck_at, UTC_TIMESTAMP(6)) END,
    s.ended_at = CASE WHEN r.ended THEN UTC_TIMESTAMP(6) END,
    s.trouble = r.trouble,
    s.failing_at = CASE WHEN r.trouble IS NOT NULL THEN COALESCE(s.failing_at, UTC_TIMESTAMP(6)) END
