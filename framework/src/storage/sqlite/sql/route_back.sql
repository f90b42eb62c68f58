UPDATE syncline_route
SET position = $1, seal = 0, seq = $2, last_position = $3,
    last_id = zeroblob(16)
WHERE position > $4
