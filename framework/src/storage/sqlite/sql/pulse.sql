-- What is there for those who wait: $1 whether the log is asked about, $2 consumers, $3 owners of
-- sagas (JSON), $4 how many milliseconds ahead.
SELECT 'head' AS what, '' AS owner,
       coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'syncline_outbox'), 0) AS number
WHERE $1
UNION ALL
SELECT 'delayed', '', due FROM (
    SELECT due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER) AS due
    FROM syncline_timer
    WHERE $1 AND kind = 'delayed' AND owner = ''
    ORDER BY due_at LIMIT 1
)
UNION ALL
SELECT 'parked', o.value,
       (SELECT t.due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER)
        FROM syncline_timer AS t
        WHERE t.kind = 'parked' AND t.owner = o.value
        ORDER BY t.due_at LIMIT 1)
FROM json_each($2) AS o
UNION ALL
SELECT 'ahead', o.value, 0
FROM json_each($2) AS o
WHERE EXISTS (SELECT 1 FROM syncline_ahead AS a WHERE a.consumer = o.value)
UNION ALL
SELECT 'saga', '', due FROM (
    SELECT 0 AS due
    FROM json_each($3) AS o
    CROSS JOIN syncline_saga_event AS e ON e.owner = o.value
    CROSS JOIN syncline_saga AS s ON s.id = e.saga_id AND s.ended_at IS NULL AND s.problem IS NULL
    LIMIT 1
)
UNION ALL
SELECT 'saga', '', due FROM (
    SELECT t.due_at - CAST(unixepoch('subsec') * 1000 AS INTEGER) AS due
    FROM json_each($3) AS o
    CROSS JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = o.value
    CROSS JOIN syncline_saga AS s ON s.id = unhex(substr(t.subject, 1, 32))
                                 AND s.ended_at IS NULL AND s.problem IS NULL
    WHERE t.due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + $4
    ORDER BY t.due_at LIMIT 1
)
