UPDATE syncline_held
SET attempts = attempts + 1, error = ?, dead = ?, unknown = FALSE
WHERE id = ?
