UPDATE syncline_held SET unknown = 1, error = $1 WHERE id = $2
