UPDATE syncline_route SET paused = ? WHERE name = ?
