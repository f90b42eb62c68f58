INSERT INTO syncline_seen (consumer, source, id) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
