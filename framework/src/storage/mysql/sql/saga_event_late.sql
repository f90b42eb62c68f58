-- What came for instances that are over is noted with them.
INSERT INTO syncline_saga_log (saga_id, what, detail)
SELECT s.id, 'late', r.event
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.id',
    event LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.event')) AS r
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(r.id)
WHERE s.ended_at IS NOT NULL
