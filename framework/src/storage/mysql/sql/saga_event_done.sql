DELETE e
FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS one
STRAIGHT_JOIN syncline_saga_event AS e ON e.id = one.id
