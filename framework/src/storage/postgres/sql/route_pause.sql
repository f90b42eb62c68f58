UPDATE syncline_route SET paused = $1 WHERE name = $2
