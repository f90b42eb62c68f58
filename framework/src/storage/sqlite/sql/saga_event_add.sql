-- For instances that are not over; the others' events go nowhere.
INSERT INTO syncline_saga_event (saga_id, owner, event)
SELECT s.id, s.owner, r.value ->> 'event'
FROM json_each($1) AS r
JOIN syncline_saga AS s ON s.id = unhex(r.value ->> 'id')
WHERE s.ended_at IS NULL
ORDER BY r.key
