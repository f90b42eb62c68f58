-- The seq of the row of rank $6 (from 0) of one seal; as read_seal.sql.
SELECT seq FROM syncline_outbox
WHERE seq > $1 AND seq <= $2
  AND pg_visible_in_snapshot(xid, (SELECT $3::text::pg_snapshot))
  AND (seq > $4 OR NOT pg_visible_in_snapshot(xid, (SELECT $5::text::pg_snapshot)))
ORDER BY seq OFFSET $6 LIMIT 1
