DELETE FROM syncline_saga_lock WHERE entity = $1 AND saga_id = $2
