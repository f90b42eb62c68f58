-- For a role that does not own the table.
DELETE FROM syncline_outbox WHERE seq = ANY (ARRAY(
    SELECT seq FROM syncline_outbox WHERE seq <= $1 ORDER BY seq LIMIT $2
))
