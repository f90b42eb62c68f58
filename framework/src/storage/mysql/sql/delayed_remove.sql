DELETE syncline_delayed
FROM JSON_TABLE(?, '$[*]' COLUMNS (subject CHAR(32) PATH '$')) AS batch
STRAIGHT_JOIN syncline_delayed ON syncline_delayed.id = UNHEX(batch.subject)
