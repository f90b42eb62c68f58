-- The states of instances (with -1), and their timers with the time at which each is due.
SELECT s.id, s.state, -1::bigint
FROM syncline_saga AS s
WHERE s.id = ANY (ARRAY(SELECT id::uuid FROM json_array_elements_text($1::json) AS one (id)))
UNION ALL
SELECT s.id, t.subject, (extract(epoch FROM t.due_at) * 1000)::bigint
FROM json_array_elements_text($2::json) AS one (id)
JOIN syncline_saga AS s ON s.id = one.id::uuid
JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = s.owner AND substr(t.subject, 1, 32) = one.id
