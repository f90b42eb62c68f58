UPDATE syncline_saga AS s
SET status = r.status, state = r.state, problem = r.problem, updated_at = clock_timestamp(),
    stuck_at = CASE WHEN r.stuck THEN coalesce(s.stuck_at, clock_timestamp()) END,
    ended_at = CASE WHEN r.ended THEN clock_timestamp() END
FROM json_to_recordset($1::json)
     AS r (id uuid, status text, state text, problem text, stuck boolean, ended boolean)
WHERE s.id = r.id
