UPDATE syncline_barrier
SET answer = r.value ->> 'answer', undone = r.value ->> 'undone',
    touched_at = max(CAST(unixepoch('subsec') * 1000 AS INTEGER), r.value ->> 'not_before')
FROM json_each($1) AS r
WHERE source = $2 AND saga_id = unhex(r.value ->> 'saga') AND step = r.value ->> 'step'
