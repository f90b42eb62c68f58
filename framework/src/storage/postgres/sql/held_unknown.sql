UPDATE syncline_held SET unknown = true, error = $1 WHERE id = $2
