UPDATE syncline_barrier
SET answer = $1, undone = $2,
    touched_at = greatest(clock_timestamp(), 'epoch'::timestamptz + $3 * interval '1 millisecond')
WHERE source = $4 AND saga_id = $5 AND step = $6
