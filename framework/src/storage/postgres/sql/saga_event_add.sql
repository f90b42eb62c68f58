-- For instances that are not over; the others' events go nowhere.
INSERT INTO syncline_saga_event (saga_id, owner, event)
SELECT s.id, s.owner, r.event
FROM (SELECT n, one ->> 'id' AS id, one ->> 'event' AS event
      FROM json_array_elements($1::json) WITH ORDINALITY AS a (one, n)) AS r
JOIN syncline_saga AS s ON s.id = r.id::uuid
WHERE num_nonnulls(s.ended_at) = 0
  -- Looked up by their ids, whatever the statistics are.
  AND s.id = ANY (ARRAY(SELECT id FROM json_to_recordset($1::json) AS a (id uuid)))
ORDER BY r.n
