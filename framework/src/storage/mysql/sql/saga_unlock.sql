DELETE l
FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) PATH '$')) AS one
STRAIGHT_JOIN syncline_saga_lock AS l ON l.saga_id = UNHEX(one.id)
