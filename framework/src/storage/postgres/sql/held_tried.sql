UPDATE syncline_held
SET attempts = attempts + 1, error = $1, dead = $2, unknown = false
WHERE id = $3
