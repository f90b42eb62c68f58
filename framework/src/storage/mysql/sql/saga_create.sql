INSERT INTO syncline_saga (id, saga, version, owner, start_key, status, input, state)
VALUES (?, ?, ?, ?, ?, 'new', ?, ?)
