-- What came for instances that are over is noted with them.
INSERT INTO syncline_saga_log (saga_id, what, detail)
SELECT s.id, 'late', r.value ->> 'event'
FROM json_each($1) AS r
JOIN syncline_saga AS s ON s.id = unhex(r.value ->> 'id')
WHERE s.ended_at IS NOT NULL
