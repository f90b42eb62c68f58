INSERT INTO syncline_route (name, stream) VALUES (?, ?) ON DUPLICATE KEY UPDATE name = name
