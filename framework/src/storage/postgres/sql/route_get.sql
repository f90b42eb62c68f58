SELECT stream, position, seal, seq, last_position, last_id FROM syncline_route WHERE name = $1
