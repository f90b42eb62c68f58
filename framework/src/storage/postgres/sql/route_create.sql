INSERT INTO syncline_route (name, stream) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
