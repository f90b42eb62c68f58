INSERT INTO syncline_saga_log (saga_id, step, what, attempt, detail)
SELECT unhex(value ->> 'id'), value ->> 'step', value ->> 'what', value ->> 'attempt',
       value ->> 'detail'
FROM json_each($1) ORDER BY key
