-- What is there for those who wait: $1 whether the log is asked about, $2 consumers, $3 owners of
-- sagas (JSON), $4 how many milliseconds ahead. The log as in seal.sql, whose predicate it is.
SELECT 'head' AS what, '' AS owner,
       (SELECT first_position + count - 1 FROM syncline_seal ORDER BY seal DESC LIMIT 1) AS number
WHERE $1
UNION ALL
(WITH prev AS MATERIALIZED (
    SELECT seq_hi, prev_hi, prev2_hi, snapshot, lows
    FROM syncline_seal WHERE $1 ORDER BY seal DESC LIMIT 1
), running AS MATERIALIZED (
    SELECT x AS xid FROM pg_snapshot_xip(pg_current_snapshot()) AS x
), finished AS MATERIALIZED (
    SELECT min(coalesce((prev.lows ->> x::text)::bigint, prev.prev2_hi)) AS low
    FROM prev, pg_snapshot_xip(prev.snapshot) AS x
    WHERE x NOT IN (SELECT xid FROM running)
), bound AS MATERIALIZED (
    SELECT least(prev.prev_hi, finished.low) AS late_lo FROM prev, finished
)
SELECT 'unsealed', '', 0::bigint
FROM prev
WHERE EXISTS (SELECT FROM syncline_outbox WHERE seq > (SELECT seq_hi FROM prev))
   OR prev.seq_hi - (SELECT late_lo FROM bound) > 10000
   OR EXISTS (SELECT FROM syncline_outbox
              WHERE seq > (SELECT late_lo FROM bound)
                AND seq <= (SELECT seq_hi FROM prev)
                AND NOT pg_visible_in_snapshot(xid, (SELECT snapshot FROM prev))))
UNION ALL
(SELECT 'delayed', '', ceil(extract(epoch FROM due_at - statement_timestamp()) * 1000)::bigint
FROM syncline_timer
WHERE $1 AND kind = 'delayed' AND owner = ''
ORDER BY due_at LIMIT 1)
UNION ALL
SELECT 'parked', o.consumer,
       (SELECT ceil(extract(epoch FROM t.due_at - statement_timestamp()) * 1000)::bigint
        FROM syncline_timer AS t
        WHERE t.kind = 'parked' AND t.owner = o.consumer
        ORDER BY t.due_at LIMIT 1)
FROM json_array_elements_text($2::json) AS o (consumer)
UNION ALL
SELECT 'ahead', o.consumer, 0::bigint
FROM json_array_elements_text($2::json) AS o (consumer)
WHERE EXISTS (SELECT FROM syncline_ahead AS a WHERE a.consumer = o.consumer)
UNION ALL
(SELECT 'saga', '', 0::bigint
FROM json_array_elements_text($3::json) AS o (owner)
JOIN syncline_saga_event AS e ON e.owner = o.owner
JOIN syncline_saga AS s ON s.id = e.saga_id AND s.ended_at IS NULL AND s.problem IS NULL
LIMIT 1)
UNION ALL
(SELECT 'saga', '', ceil(extract(epoch FROM t.due_at - statement_timestamp()) * 1000)::bigint
FROM json_array_elements_text($3::json) AS o (owner)
JOIN syncline_timer AS t ON t.kind = 'saga' AND t.owner = o.owner
JOIN syncline_saga AS s ON s.id = substr(t.subject, 1, 32)::uuid
                       AND s.ended_at IS NULL AND s.problem IS NULL
WHERE t.due_at <= statement_timestamp() + $4 * interval '1 millisecond'
ORDER BY t.due_at LIMIT 1)
