UPDATE syncline_saga
SET status = r.value ->> 'status', state = r.value ->> 'state', problem = r.value ->> 'problem',
    updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER),
    stuck_at = CASE WHEN r.value ->> 'stuck'
               THEN coalesce(stuck_at, CAST(unixepoch('subsec') * 1000 AS INTEGER)) END,
    ended_at = CASE WHEN r.value ->> 'ended'
               THEN CAST(unixepoch('subsec') * 1000 AS INTEGER) END,
    trouble = r.value ->> 'trouble',
    failing_at = CASE WHEN r.value ->> 'trouble' IS NOT NULL
                 THEN coalesce(failing_at, CAST(unixepoch('subsec') * 1000 AS INTEGER)) END
FROM json_each($1) AS r
WHERE syncline_saga.id = unhex(r.value ->> 'id')
