INSERT INTO syncline_compensated (message_id, rejected_by, reason) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
