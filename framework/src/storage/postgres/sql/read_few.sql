-- seals_after.sql and read_seal.sql in one, for up to $4 rows after position $2 and seq $3 of seal $1.
-- A seal without rows is there without one.
SELECT r.seq, r.id, r.topic, r.key, r.time, r.content_type, r.schema_version, r.headers, r.data,
       s.seal, s.first_position, s.count
FROM (
    SELECT s.seal, s.first_position, s.count, s.seq_hi, s.snapshot,
           greatest(s.late_lo, CASE WHEN s.seal = $1 THEN $3 END) AS after,
           p.seq_hi AS prev_hi, p.snapshot AS prev_snapshot
    FROM syncline_seal AS s JOIN syncline_seal AS p ON p.seal = s.seal - 1
    WHERE s.seal >= $1 AND s.first_position + s.count - 1 > $2
    ORDER BY s.seal LIMIT $4
) AS s
LEFT JOIN LATERAL (
    SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
    FROM syncline_outbox
    WHERE seq > s.after AND seq <= s.seq_hi
      AND pg_visible_in_snapshot(xid, s.snapshot)
      AND (seq > s.prev_hi OR NOT pg_visible_in_snapshot(xid, s.prev_snapshot))
    ORDER BY seq LIMIT $4
) AS r ON true
ORDER BY s.seal, r.seq LIMIT $4
