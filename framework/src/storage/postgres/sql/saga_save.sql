-- All that follows from decisions: timers that are cleared and set, the log, locks that are released,
-- events that are decided, and the instances. No two of them touch the same row.
WITH cleared AS (
    DELETE FROM syncline_timer AS t
    USING json_to_recordset($1::json) AS r (owner text, subject text)
    WHERE t.kind = 'saga' AND t.owner = r.owner AND t.subject = r.subject
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
    DELETE FROM syncline_saga_lock WHERE saga_id IN (SELECT id::uuid FROM json_array_elements_text($4::json) AS one (id))
), decided AS (
    DELETE FROM syncline_saga_event
    WHERE id IN (SELECT id::bigint FROM json_array_elements_text($5::json) AS one (id))
)
UPDATE syncline_saga AS s
SET status = r.status, state = r.state, problem = r.problem, updated_at = clock_timestamp(),
    stuck_at = CASE WHEN r.stuck THEN coalesce(s.stuck_at, clock_timestamp()) END,
    ended_at = CASE WHEN r.ended THEN clock_timestamp() END
FROM json_to_recordset($6::json)
     AS r (id uuid, status text, state text, problem text, stuck boolean, ended boolean)
WHERE s.id = r.id
