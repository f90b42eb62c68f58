UPDATE syncline_trim SET position = $1, seal = $2 WHERE position = $3
