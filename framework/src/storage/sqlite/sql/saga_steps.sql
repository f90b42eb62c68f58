-- The states of instances (with -1), and their timers with the time at which each is due.
SELECT s.id, s.state, -1
FROM json_each($1) AS one
JOIN syncline_saga AS s ON s.id = unhex(one.value)
UNION ALL
SELECT s.id, t.subject, t.due_at
FROM json_each($2) AS one
JOIN syncline_saga AS s ON s.id = unhex(one.value)
JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = s.owner AND substr(t.subject, 1, 32) = one.value
