UPDATE syncline_route
SET position = $1, seal = 0, seq = $2, last_position = $3,
    last_id = '00000000-0000-0000-0000-000000000000'
WHERE position > $4
