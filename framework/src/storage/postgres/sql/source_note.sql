INSERT INTO syncline_source (role, source, seen_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (role, source) DO UPDATE SET seen_at = clock_timestamp()
