-- As read_seal.sql, for many small seals at once.
SELECT seq, id, topic, key, time, content_type, schema_version, headers, data, seal
FROM (
    SELECT seal, after, hi, snapshot::pg_snapshot, prev_hi, prev_snapshot::pg_snapshot
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[])
         AS s (seal, after, hi, snapshot, prev_hi, prev_snapshot)
    OFFSET 0
) AS s
CROSS JOIN LATERAL (
    SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
    FROM syncline_outbox
    WHERE seq > s.after AND seq <= s.hi
      AND pg_visible_in_snapshot(xid, s.snapshot)
      AND (seq > s.prev_hi OR NOT pg_visible_in_snapshot(xid, s.prev_snapshot))
    ORDER BY seq
    OFFSET 0
) AS rows
ORDER BY seal, seq
