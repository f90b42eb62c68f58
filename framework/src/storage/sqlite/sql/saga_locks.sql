SELECT entity, saga_id, locked_at FROM syncline_saga_lock ORDER BY entity LIMIT $1
