UPDATE syncline_trim SET position = ?, seal = ? WHERE position = ?
