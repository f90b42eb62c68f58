-- Instances that have something to decide; the writer is alone.
SELECT id, saga, version, start_key, input, state, CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000
FROM syncline_saga
WHERE id IN (
    SELECT * FROM (
        SELECT e.saga_id FROM json_each($1) AS o
        CROSS JOIN syncline_saga_event AS e ON e.owner = o.value
        CROSS JOIN syncline_saga AS s ON s.id = e.saga_id
        WHERE s.ended_at IS NULL AND s.problem IS NULL
        LIMIT 1024
    )
    UNION
    SELECT * FROM (
        SELECT unhex(substr(t.subject, 1, 32)) FROM json_each($2) AS o
        CROSS JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = o.value
        CROSS JOIN syncline_saga AS s ON s.id = unhex(substr(t.subject, 1, 32))
        WHERE s.ended_at IS NULL AND s.problem IS NULL
          AND t.due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
        LIMIT 1024
    )
) AND ended_at IS NULL AND problem IS NULL
  AND instr($3, lower(hex(id))) = 0
LIMIT $4
