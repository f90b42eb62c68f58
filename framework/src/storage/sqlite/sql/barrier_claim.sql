INSERT INTO syncline_barrier (source, saga_id, step, answer) VALUES ($1, $2, $3, '')
ON CONFLICT (source, saga_id, step) DO UPDATE SET step = step
RETURNING answer, undone, CAST(unixepoch('subsec') * 1000 AS INTEGER)
