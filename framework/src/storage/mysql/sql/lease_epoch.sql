SELECT epoch FROM syncline_lease WHERE name = ? AND holder = ?
