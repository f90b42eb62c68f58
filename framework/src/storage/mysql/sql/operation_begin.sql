INSERT INTO syncline_operation (id, operator, command, target, why) VALUES (?, ?, ?, ?, ?)
