UPDATE syncline_held SET dead = FALSE, attempts = 0 WHERE id = ? AND dead
