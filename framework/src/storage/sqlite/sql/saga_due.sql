-- In how many milliseconds something is due: nought when there are undecided events.
SELECT due FROM (
    SELECT 0 AS due
    FROM json_each($1) AS o
    CROSS JOIN syncline_saga_event AS e ON e.owner = o.value
    CROSS JOIN syncline_saga AS s ON s.id = e.saga_id AND s.ended_at IS NULL AND s.problem IS NULL
    LIMIT 1
)
UNION ALL
SELECT due FROM (
    SELECT max(t.due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER), 0) AS due
    FROM json_each($2) AS o
    CROSS JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = o.value
    CROSS JOIN syncline_saga AS s ON s.id = unhex(substr(t.subject, 1, 32))
                                 AND s.ended_at IS NULL AND s.problem IS NULL
    WHERE t.due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3
    ORDER BY t.due_at LIMIT 1
)
ORDER BY 1 LIMIT 1
