INSERT INTO syncline_parked (consumer, source, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
