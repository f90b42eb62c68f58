DELETE t
FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) PATH '$')) AS one
STRAIGHT_JOIN syncline_saga_event AS t ON t.saga_id = UNHEX(one.id)
