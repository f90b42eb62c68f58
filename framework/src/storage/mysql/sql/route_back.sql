UPDATE syncline_route
SET position = ?, seal = 0, seq = ?, last_position = ?,
    last_id = UNHEX(REPEAT('00', 16))
WHERE position > ?
