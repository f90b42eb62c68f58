UPDATE syncline_route SET closed = false WHERE name = $1 AND version = $2 AND closed
