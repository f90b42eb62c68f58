SELECT entity, saga_id, (extract(epoch FROM locked_at) * 1000)::bigint FROM syncline_saga_lock ORDER BY entity LIMIT $1
