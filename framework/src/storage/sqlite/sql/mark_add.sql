INSERT INTO syncline_mark (position) VALUES ($1)
ON CONFLICT (position) DO NOTHING
