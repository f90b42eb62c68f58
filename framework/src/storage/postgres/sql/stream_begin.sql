UPDATE syncline_stream SET after_position = $1 WHERE name = $2 AND version = $3
