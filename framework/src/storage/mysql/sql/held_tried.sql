UPDATE syncline_held SET attempts = attempts + 1, error = ?, dead = ? WHERE id = ?
