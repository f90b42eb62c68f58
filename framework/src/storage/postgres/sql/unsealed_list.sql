-- As unsealed.sql counts them.
WITH last AS MATERIALIZED (
    SELECT seq_hi, prev_hi, prev2_hi, snapshot, lows
    FROM syncline_seal ORDER BY seal DESC LIMIT 1
), bound AS MATERIALIZED (
    SELECT least(last.prev_hi, (
        SELECT min(coalesce((last.lows ->> x::text)::bigint, last.prev2_hi))
        FROM pg_snapshot_xip(last.snapshot) AS x
    )) AS lo
    FROM last
)
SELECT id, topic, key FROM syncline_outbox
WHERE seq > (SELECT lo FROM bound)
  AND (seq > (SELECT seq_hi FROM last)
       OR NOT pg_visible_in_snapshot(xid, (SELECT snapshot FROM last)))
ORDER BY seq LIMIT $1
