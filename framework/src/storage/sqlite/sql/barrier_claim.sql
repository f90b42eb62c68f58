INSERT INTO syncline_barrier (source, saga_id, step, answer)
SELECT $2, unhex(value ->> 'saga'), value ->> 'step', '' FROM json_each($1) WHERE true
ON CONFLICT (source, saga_id, step) DO UPDATE SET step = step
RETURNING saga_id, step, answer, undone, CAST(unixepoch('subsec') * 1000 AS INTEGER)
