UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id CHAR(32) PATH '$.id', status VARCHAR(20) PATH '$.status', state LONGTEXT PATH '$.state',
    problem LONGTEXT PATH '$.problem', stuck INT PATH '$.stuck', ended INT PATH '$.ended')) AS r
STRAIGHT_JOIN syncline_saga AS s ON s.id = UNHEX(r.id)
SET s.status = r.status, s.state = r.state, s.problem = r.problem, s.updated_at = UTC_TIMESTAMP(6),
    s.stuck_at = CASE WHEN r.stuck THEN COALESCE(s.stuck_at, UTC_TIMESTAMP(6)) END,
    s.ended_at = CASE WHEN r.ended THEN UTC_TIMESTAMP(6) END
