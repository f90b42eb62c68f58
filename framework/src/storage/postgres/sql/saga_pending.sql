-- Undecided events in order, and then the timers (of those that are asked for) that are due.
SELECT e.saga_id, e.id, e.event
FROM json_array_elements_text($1::json) AS one (id)
JOIN syncline_saga_event AS e ON e.saga_id = one.id::uuid
UNION ALL
SELECT substr(t.subject, 1, 32)::uuid, 0, t.subject
FROM json_to_recordset($2::json) AS r (owner text, subject text)
JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = r.owner AND t.subject = r.subject
WHERE t.due_at <= statement_timestamp()
ORDER BY 2
