DELETE FROM syncline_outbox_default WHERE seq = ANY (ARRAY(
    SELECT seq FROM syncline_outbox_default WHERE seq <= $1 ORDER BY seq LIMIT $2
))
