-- The update that changes nothing locks a row that is there, and reads it as it is committed now.
INSERT INTO syncline_barrier AS b (source, saga_id, step, answer)
SELECT $2, one.saga, one.step, ''
FROM json_to_recordset($1::json) AS one (saga uuid, step text)
ORDER BY one.saga, one.step
ON CONFLICT (source, saga_id, step) DO UPDATE SET step = b.step
RETURNING saga_id, step, answer, undone, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
