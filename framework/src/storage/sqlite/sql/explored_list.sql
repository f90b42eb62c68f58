SELECT saga_id, step, undo, at FROM syncline_explored ORDER BY at
