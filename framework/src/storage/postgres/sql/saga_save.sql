-- All that follows from decisions: timers that are cleared and set, the log, locks that are released,
-- events that are decided, and the instances. No two of them touch the same row. Whatever the
-- statistics are, rows are looked up by their keys, and no table is read through: that is what the
-- arrays, OFFSET 0 and the conflict are for.
WITH cleared AS (
    -- A subject begins with its instance's id, and so has one owner.
    DELETE FROM syncline_timer
    WHERE kind = 'saga'
      AND owner = ANY (ARRAY(SELECT DISTINCT owner FROM json_to_recordset($1::json) AS r (owner text)))
      AND subject = ANY (ARRAY(SELECT subject FROM json_to_recordset($1::json) AS r (subject text)))
), armed AS (
    INSERT INTO syncline_timer (kind, owner, subject, due_at)
    SELECT 'saga', owner, subject, clock_timestamp() + after * interval '1 millisecond'
    FROM json_to_recordset($2::json) AS r (owner text, subject text, after bigint)
    ON CONFLICT (kind, owner, subject) DO UPDATE SET due_at = excluded.due_at
), logged AS (
    INSERT INTO syncline_saga_log (saga_id, step, what, attempt, detail)
    SELECT (one ->> 'id')::uuid, one ->> 'step', one ->> 'what', (one ->> 'attempt')::integer,
           one ->> 'detail'
    FROM json_array_elements($3::json) WITH ORDINALITY AS a (one, n)
    ORDER BY n
), unlocked AS (
    DELETE FROM syncline_saga_lock WHERE saga_id = ANY (ARRAY(SELECT id::uuid FROM json_array_elements_text($4::json) AS one (id)))
), decided AS (
    DELETE FROM syncline_saga_event
    WHERE id = ANY (ARRAY(SELECT id::bigint FROM json_array_elements_text($5::json) AS one (id)))
)
INSERT INTO syncline_saga AS s
    (id, saga, version, owner, start_key, input, status, state, problem, stuck_at, ended_at, trouble, failing_at)
SELECT r.id, own.saga, own.version, own.owner, own.start_key, own.input, r.status, r.state, r.problem,
       CASE WHEN r.stuck THEN clock_timestamp() END, CASE WHEN r.ended THEN clock_timestamp() END,
       r.trouble, CASE WHEN r.trouble IS NOT NULL THEN clock_timestamp() END
FROM json_to_recordset($6::json)
     AS r (id uuid, status text, state text, problem text, stuck boolean, ended boolean, trouble text)
CROSS JOIN LATERAL (
    SELECT saga, version, owner, start_key, input FROM syncline_saga WHERE id = r.id OFFSET 0
) AS own
ON CONFLICT (id) DO UPDATE
SET status = excluded.status, state = excluded.state, problem = excluded.problem,
    updated_at = clock_timestamp(), ended_at = excluded.ended_at,
    stuck_at = CASE WHEN excluded.stuck_at IS NOT NULL THEN coalesce(s.stuck_at, excluded.stuck_at) END,
    trouble = excluded.trouble,
    failing_at = CASE WHEN excluded.failing_at IS NOT NULL
                 THEN coalesce(s.failing_at, excluded.failing_at) END
