-- Undecided events in order, and then the timers (of those that are asked for) that are due.
SELECT e.saga_id, e.id, e.event
FROM json_each($1) AS one
CROSS JOIN syncline_saga_event AS e ON e.saga_id = unhex(one.value)
UNION ALL
SELECT unhex(substr(t.subject, 1, 32)), 0, t.subject
FROM json_each($2) AS r
CROSS JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = r.value ->> 'owner'
                              AND t.subject = r.value ->> 'subject'
WHERE t.due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
ORDER BY 2
