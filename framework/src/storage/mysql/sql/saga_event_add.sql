-- For instances that are not over; the others' events go nowhere.
INSERT INTO syncline_saga_event (saga_id, owner, event)
SELECT s.id, s.owner, r.event
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    n FOR ORDINALITY,
    id CHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.id',
    event LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.event')) AS r
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(r.id)
WHERE s.ended_at IS NULL
ORDER BY r.n
