DELETE FROM syncline_compensated WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM syncline_compensated
    WHERE at < clock_timestamp() - $1 * interval '1 millisecond' LIMIT $2
))
