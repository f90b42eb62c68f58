-- Rows of one seal after seq $1: late_lo $2, seq_hi $3, snapshot $4, and its predecessor's
-- seq_hi $5 and snapshot $6. The count in seal.sql uses the same predicate. The snapshots are read
-- in subqueries: once, and not for each row.
SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
FROM syncline_outbox
WHERE seq > greatest($1, $2) AND seq <= $3
  AND pg_visible_in_snapshot(xid, (SELECT $4::text::pg_snapshot))
  AND (seq > $5 OR NOT pg_visible_in_snapshot(xid, (SELECT $6::text::pg_snapshot)))
ORDER BY seq LIMIT $7
