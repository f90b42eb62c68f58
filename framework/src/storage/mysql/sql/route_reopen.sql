UPDATE syncline_route SET closed = FALSE WHERE name = ? AND version = ? AND closed
