-- What was not sealed gets a transaction id and a sequence value of now, in its order.
WITH last AS MATERIALIZED (
    SELECT * FROM syncline_seal ORDER BY seal DESC LIMIT 1
), bound AS MATERIALIZED (
    SELECT least(prev_hi, (SELECT min(coalesce((lows ->> x::text)::bigint, prev2_hi))
                           FROM pg_snapshot_xip(snapshot) AS x)) AS low
    FROM last
), moved AS (
    DELETE FROM syncline_outbox USING last, bound
    WHERE seq > bound.low
      AND (seq > last.seq_hi OR NOT pg_visible_in_snapshot(xid, last.snapshot))
    RETURNING seq, id, topic, key, time, content_type, schema_version, headers, data
)
INSERT INTO syncline_outbox (id, topic, key, time, content_type, schema_version, headers, data)
SELECT id, topic, key, time, content_type, schema_version, headers, data FROM moved ORDER BY seq
