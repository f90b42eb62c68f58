DELETE FROM syncline_seen WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM syncline_seen
    WHERE consumer = $1 AND seen_at < clock_timestamp() - $2 * interval '1 millisecond'
    ORDER BY seen_at LIMIT $3
))
