-- Closes one batch of the log: $1 batch limit, $2 lease, $3 holder, $4 epoch, $5 wide scan. Of up
-- to $6 rows that it closes, it gives those with payloads of up to $7 bytes.
-- It must be the first statement of its READ COMMITTED transaction: nothing before it may
-- assign a transaction id, so the lease is looked at and not locked. The fence is the primary
-- key: of two sealers one gets a unique violation.
WITH prev AS MATERIALIZED (
    SELECT seal, first_position + count AS next_position, seq_hi, prev_hi, prev2_hi, snapshot, lows
    FROM syncline_seal ORDER BY seal DESC LIMIT 1
), cur AS MATERIALIZED (
    -- A position may be published only when a power cut cannot give it to another message: set here,
    -- for the transaction, where no pooler and no session's setting is in between.
    SELECT pg_current_snapshot() AS snapshot,
           set_config('synchronous_commit', 'on', true) AS durable
), pending AS MATERIALIZED (
    -- In flight when the previous seal was taken, each with a lower bound of its seqs.
    SELECT x AS xid, coalesce((prev.lows ->> x::text)::bigint, prev.prev2_hi) AS low
    FROM prev, pg_snapshot_xip(prev.snapshot) AS x
), running AS MATERIALIZED (
    SELECT x AS xid FROM cur, pg_snapshot_xip(cur.snapshot) AS x
), finished AS MATERIALIZED (
    SELECT min(low) AS low FROM pending WHERE xid NOT IN (SELECT xid FROM running)
), bound AS MATERIALIZED (
    SELECT least(prev.prev_hi, finished.low) AS late_lo FROM prev, finished
), late AS MATERIALIZED (
    -- Allocated before the previous seal, committed since.
    SELECT count(*) AS n FROM syncline_outbox
    WHERE seq > (SELECT late_lo FROM bound)
      AND seq <= (SELECT seq_hi FROM prev)
      AND NOT pg_visible_in_snapshot(xid, (SELECT snapshot FROM prev))
      AND pg_visible_in_snapshot(xid, (SELECT snapshot FROM cur))
), fresh AS MATERIALIZED (
    SELECT count(*) AS n, max(seq) AS hi
    FROM (SELECT seq FROM syncline_outbox
          WHERE seq > (SELECT seq_hi FROM prev)
            AND pg_visible_in_snapshot(xid, (SELECT snapshot FROM cur))
          ORDER BY seq LIMIT $1) AS batch
), sealed AS (
    INSERT INTO syncline_seal
        (seal, first_position, count, seq_hi, prev_hi, prev2_hi, late_lo, snapshot, lows)
    SELECT prev.seal + 1, prev.next_position, late.n + fresh.n, coalesce(fresh.hi, prev.seq_hi),
           prev.seq_hi, prev.prev_hi,
           CASE WHEN late.n = 0 THEN prev.seq_hi ELSE bound.late_lo END,
           cur.snapshot,
           (SELECT coalesce(jsonb_object_agg(xid::text, low), '{}')
            FROM pending WHERE xid IN (SELECT xid FROM running))
    FROM prev, cur, bound, late, fresh
    -- An empty seal after a wide scan keeps that scan from being repeated.
    WHERE (late.n + fresh.n > 0 OR prev.seq_hi - bound.late_lo > $5)
      -- After a restore from a dump the ids of transactions are low: what they say of a row holds no more.
      AND cur.durable = 'on'
      AND pg_snapshot_xmax(cur.snapshot) >= pg_snapshot_xmax(prev.snapshot)
      AND EXISTS (SELECT 1 FROM syncline_lease
                  WHERE name = $2 AND holder = $3 AND epoch = $4 AND expires_at > clock_timestamp())
    RETURNING seal, first_position, count, late_lo, seq_hi, snapshot
)
SELECT r.seq, r.id, r.topic, r.key, r.time, r.content_type, r.schema_version, r.headers, r.data,
       s.seal, s.first_position, s.count
FROM sealed AS s CROSS JOIN prev
LEFT JOIN LATERAL (
    SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
    FROM syncline_outbox
    WHERE s.count BETWEEN 1 AND $6 AND seq > s.late_lo AND seq <= s.seq_hi
      AND pg_visible_in_snapshot(xid, s.snapshot)
      AND (seq > prev.seq_hi OR NOT pg_visible_in_snapshot(xid, prev.snapshot))
      AND octet_length(data) <= $7
) AS r ON true
ORDER BY r.seq
