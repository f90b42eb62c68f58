DELETE FROM syncline_barrier WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM syncline_barrier
    WHERE touched_at < clock_timestamp() - $1 * interval '1 millisecond'
    ORDER BY touched_at LIMIT $2
))
