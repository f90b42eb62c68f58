INSERT INTO syncline_term (head) VALUES (?)
