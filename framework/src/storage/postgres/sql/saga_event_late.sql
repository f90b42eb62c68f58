-- What came for instances that are over is noted with them.
INSERT INTO syncline_saga_log (saga_id, what, detail)
SELECT s.id, 'late', r.event
FROM json_to_recordset($1::json) AS r (id uuid, event text)
JOIN syncline_saga AS s ON s.id = r.id
WHERE s.ended_at IS NOT NULL
