UPDATE syncline_held SET dead = false, attempts = 0 WHERE id = $1 AND dead
