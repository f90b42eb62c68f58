INSERT INTO syncline_set_aside (position, seq, problem) VALUES ($1, $2, $3)
ON CONFLICT (position) DO NOTHING
