DELETE FROM syncline_saga_lock WHERE entity = ? AND saga_id = ?
