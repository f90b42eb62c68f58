-- Messages that the slowest route has not sent; all of them when there is no route.
LOCK TABLE syncline_outbox IN ACCESS EXCLUSIVE MODE;
WITH last AS (
    SELECT first_position + count - 1 AS head, seq_hi, snapshot
    FROM syncline_seal ORDER BY seal DESC LIMIT 1
)
SELECT (SELECT head FROM last)
     - (SELECT coalesce(min(position), 0) FROM syncline_route)
     + (SELECT count(*) FROM syncline_outbox, last
        WHERE seq > seq_hi OR NOT pg_visible_in_snapshot(xid, snapshot));
