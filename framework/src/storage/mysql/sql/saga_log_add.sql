INSERT INTO syncline_saga_log (saga_id, step, what, attempt, detail)
SELECT UNHEX(r.id), r.step, r.what, r.attempt, r.detail
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    n FOR ORDINALITY, id CHAR(32) PATH '$.id', step VARCHAR(255) PATH '$.step',
    what VARCHAR(40) PATH '$.what', attempt INT PATH '$.attempt',
    detail LONGTEXT PATH '$.detail')) AS r
ORDER BY r.n
