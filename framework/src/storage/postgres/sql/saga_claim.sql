-- Instances that have something to decide, locked until the transaction ends. More are looked at
-- than are taken, so that those that others have locked do not hide the rest. An engine that is
-- frozen from here on is ended by the server, as a relay is: others take its instances over.
SELECT id, saga, version, input, state,
       (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
FROM syncline_saga
WHERE id = ANY (ARRAY(
    SELECT e.saga_id
    FROM json_array_elements_text($1::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT event.saga_id FROM syncline_saga_event AS event
        JOIN syncline_saga AS s ON s.id = event.saga_id
        WHERE event.owner = o.owner AND s.ended_at IS NULL AND s.problem IS NULL
        ORDER BY event.id LIMIT 1024
    ) AS e
    UNION
    SELECT substr(t.subject, 1, 32)::uuid
    FROM json_array_elements_text($2::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT timer.subject FROM syncline_timer AS timer
        JOIN syncline_saga AS s ON s.id = substr(timer.subject, 1, 32)::uuid
        WHERE timer.kind = 'saga' AND timer.owner = o.owner
          AND timer.due_at <= statement_timestamp() AND s.ended_at IS NULL AND s.problem IS NULL
        ORDER BY timer.due_at LIMIT 1024
    ) AS t
)) AND ended_at IS NULL AND problem IS NULL
  AND (SELECT set_config('idle_in_transaction_session_timeout', '4s', true)) IS NOT NULL
  AND (SELECT set_config('lock_timeout', '5s', true)) IS NOT NULL
LIMIT $3
FOR NO KEY UPDATE SKIP LOCKED
