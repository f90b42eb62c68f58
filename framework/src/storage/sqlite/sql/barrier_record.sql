UPDATE syncline_barrier
SET answer = $1, undone = $2,
    touched_at = max(CAST(unixepoch('subsec') * 1000 AS INTEGER), $3)
WHERE source = $4 AND saga_id = $5 AND step = $6
