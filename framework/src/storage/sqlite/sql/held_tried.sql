UPDATE syncline_held
SET attempts = attempts + 1, error = $1, dead = $2, unknown = 0
WHERE id = $3
