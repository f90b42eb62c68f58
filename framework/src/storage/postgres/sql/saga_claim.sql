-- Instances that have something to decide, locked until the transaction ends. More are looked at
-- than are taken, so that those that others have locked do not hide the rest. An engine that is
-- frozen from here on is ended by the server, as a relay is: others take its instances over.
-- Whatever the statistics are, instances are looked up by their ids: OFFSET 0 rules joins out, and
-- num_nonnulls an index of all that are open. A limit that the planner does not know makes it expect
-- a few rows: it reads along the index, which notes what is dead, and not a bitmap, which does not.
SELECT s.id, s.saga, s.version, s.start_key, s.input, s.state,
       (extract(epoch FROM statement_timestamp()) * 1000000)::bigint
FROM syncline_saga AS s
WHERE s.id = ANY (ARRAY(
    SELECT e.saga_id
    FROM json_array_elements_text($1::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT event.saga_id
        FROM (
            SELECT saga_id FROM syncline_saga_event WHERE owner = o.owner
            ORDER BY id LIMIT (SELECT 9223372036854775807)
        ) AS event
        CROSS JOIN LATERAL (
            SELECT FROM syncline_saga
            WHERE id = event.saga_id AND num_nonnulls(ended_at, problem) = 0 OFFSET 0
        ) AS open
        LIMIT 1024
    ) AS e
    UNION
    SELECT substr(t.subject, 1, 32)::uuid
    FROM json_array_elements_text($2::json) AS o (owner)
    CROSS JOIN LATERAL (
        SELECT timer.subject
        FROM (
            SELECT subject FROM syncline_timer
            WHERE kind = 'saga' AND owner = o.owner AND due_at <= statement_timestamp()
            ORDER BY due_at LIMIT (SELECT 9223372036854775807)
        ) AS timer
        CROSS JOIN LATERAL (
            SELECT FROM syncline_saga
            WHERE id = substr(timer.subject, 1, 32)::uuid
              AND num_nonnulls(ended_at, problem) = 0 OFFSET 0
        ) AS open
        LIMIT 1024
    ) AS t
)) AND num_nonnulls(s.ended_at, s.problem) = 0
  AND s.id <> ALL (ARRAY(SELECT one::uuid FROM json_array_elements_text($3::json) AS a (one)))
  AND (SELECT set_config('idle_in_transaction_session_timeout', '4s', true)) IS NOT NULL
  AND (SELECT set_config('lock_timeout', '5s', true)) IS NOT NULL
LIMIT $4
FOR NO KEY UPDATE OF s SKIP LOCKED
