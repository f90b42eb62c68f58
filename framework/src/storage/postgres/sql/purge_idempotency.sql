DELETE FROM syncline_idempotency WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM syncline_idempotency
    WHERE created_at < clock_timestamp() - $1 * interval '1 millisecond' LIMIT $2
))
