-- As inbox_lock.sql, with whether no key is parked. Whoever parks one moves the row in the same
-- transaction: where the row is still what the statement's snapshot shows, that shows them all.
SELECT inbox.incarnation, inbox.watermark, inbox.last_position, inbox.last_id,
       inbox.final_position,
       CASE WHEN EXISTS (SELECT 1 FROM syncline_inbox AS seen
                         WHERE seen.consumer = $1 AND seen.source = $2 AND seen.stream = $3
                           AND seen.version = $4 AND seen.shard = $5
                           AND seen.xmin = inbox.xmin)
            THEN NOT EXISTS (SELECT 1 FROM syncline_parked AS parked
                             WHERE parked.consumer = $1 AND parked.source = $2) END
FROM syncline_inbox AS inbox
WHERE inbox.consumer = $1 AND inbox.source = $2 AND inbox.stream = $3 AND inbox.version = $4
  AND inbox.shard = $5
FOR UPDATE OF inbox
