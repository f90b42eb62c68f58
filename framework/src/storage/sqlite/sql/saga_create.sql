INSERT INTO syncline_saga (id, saga, version, owner, start_key, status, input, state)
VALUES ($1, $2, $3, $4, $5, 'new', $6, $7)
ON CONFLICT (saga, start_key) DO NOTHING
