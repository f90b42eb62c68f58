UPDATE syncline_held SET attempts = attempts + 1, error = $2, dead = $3 WHERE id = $1
