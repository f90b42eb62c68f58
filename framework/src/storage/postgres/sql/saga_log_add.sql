INSERT INTO syncline_saga_log (saga_id, step, what, attempt, detail)
SELECT (one ->> 'id')::uuid, one ->> 'step', one ->> 'what', (one ->> 'attempt')::integer,
       one ->> 'detail'
FROM json_array_elements($1::json) WITH ORDINALITY AS a (one, n)
ORDER BY n
