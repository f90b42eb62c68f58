INSERT INTO syncline_operation (id, operator, command, target, why) VALUES ($1, $2, $3, $4, $5)
