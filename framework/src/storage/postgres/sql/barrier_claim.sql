-- The update that changes nothing locks a row that is there, and reads it as it is committed now.
INSERT INTO syncline_barrier AS b (source, saga_id, step, answer) VALUES ($1, $2, $3, '')
ON CONFLICT (source, saga_id, step) DO UPDATE SET step = b.step
RETURNING answer, undone, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
