-- For instances that are not over; the others' events go nowhere.
INSERT INTO syncline_saga_event (saga_id, owner, event)
SELECT s.id, s.owner, r.event
FROM (SELECT n, one ->> 'id' AS id, one ->> 'event' AS event
      FROM json_array_elements($1::json) WITH ORDINALITY AS a (one, n)) AS r
JOIN syncline_saga AS s ON s.id = r.id::uuid
WHERE s.ended_at IS NULL
ORDER BY r.n
