-- In how many milliseconds something is due: nought when there are undecided events. Instances are
-- looked up as in saga_claim.sql.
SELECT due FROM (
    SELECT 0::bigint AS due
    FROM json_array_elements_text($1::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT saga_id FROM syncline_saga_event WHERE owner = o.owner
        ORDER BY id LIMIT (SELECT 9223372036854775807)
    ) AS e
    CROSS JOIN LATERAL (
        SELECT FROM syncline_saga
        WHERE id = e.saga_id AND num_nonnulls(ended_at, problem) = 0 OFFSET 0
    ) AS open
    LIMIT 1
) AS event
UNION ALL
SELECT due FROM (
    SELECT greatest(ceil(extract(epoch FROM t.due_at - statement_timestamp()) * 1000), 0)::bigint AS due
    FROM json_array_elements_text($2::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT due_at, subject FROM syncline_timer
        WHERE kind = 'saga' AND owner = o.owner
          AND due_at <= statement_timestamp() + $3 * interval '1 millisecond'
        ORDER BY due_at LIMIT (SELECT 9223372036854775807)
    ) AS t
    CROSS JOIN LATERAL (
        SELECT FROM syncline_saga
        WHERE id = substr(t.subject, 1, 32)::uuid AND num_nonnulls(ended_at, problem) = 0 OFFSET 0
    ) AS open
    ORDER BY t.due_at LIMIT 1
) AS timer
ORDER BY 1 LIMIT 1
