-- Undecided events in order, and then the timers (of those that are asked for) that are due. The
-- arrays have rows looked up by their keys, as in saga_save.sql.
SELECT e.saga_id, e.id, e.event
FROM syncline_saga_event AS e
WHERE e.saga_id = ANY (ARRAY(SELECT id::uuid FROM json_array_elements_text($1::json) AS one (id)))
UNION ALL
SELECT substr(r.subject, 1, 32)::uuid, 0, r.subject
FROM json_to_recordset($2::json) AS r (owner text, subject text)
CROSS JOIN LATERAL (
    SELECT due_at FROM syncline_timer
    WHERE kind = 'saga' AND owner = r.owner AND subject = r.subject OFFSET 0
) AS t
WHERE t.due_at <= statement_timestamp()
ORDER BY 2
