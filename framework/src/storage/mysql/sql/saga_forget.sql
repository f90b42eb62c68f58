DELETE t
FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) PATH '$')) AS one
STRAIGHT_JOIN syncline_saga AS t ON t.id = UNHEX(one.id)
