-- In how many milliseconds something is due: nought when there are undecided events.
SELECT due FROM (
    SELECT 0::bigint AS due
    FROM json_array_elements_text($1::json) AS o (owner)
    JOIN syncline_saga_event AS e ON e.owner = o.owner
    JOIN syncline_saga AS s ON s.id = e.saga_id AND s.ended_at IS NULL AND s.problem IS NULL
    LIMIT 1
) AS event
UNION ALL
SELECT due FROM (
    SELECT greatest(ceil(extract(epoch FROM t.due_at - statement_timestamp()) * 1000), 0)::bigint AS due
    FROM json_array_elements_text($2::json) AS o (owner)
    JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = o.owner
    JOIN syncline_saga AS s ON s.id = substr(t.subject, 1, 32)::uuid
                           AND s.ended_at IS NULL AND s.problem IS NULL
    WHERE t.due_at <= statement_timestamp() + $3 * interval '1 millisecond'
    ORDER BY t.due_at LIMIT 1
) AS timer
ORDER BY 1 LIMIT 1
