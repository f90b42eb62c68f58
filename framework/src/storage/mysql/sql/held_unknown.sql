UPDATE syncline_held SET unknown = TRUE, error = ? WHERE id = ?
