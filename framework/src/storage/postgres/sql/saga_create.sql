-- An instance and its first event, unless the saga has one with this key.
WITH made AS (
    INSERT INTO syncline_saga (id, saga, version, owner, start_key, status, input, state)
    VALUES ($1, $2, $3, $4, $5, 'new', $6, $7)
    ON CONFLICT (saga, start_key) DO NOTHING
    RETURNING id, owner
)
INSERT INTO syncline_saga_event (saga_id, owner, event) SELECT id, owner, $8 FROM made
