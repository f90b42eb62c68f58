-- The idempotency keys of messages with one key, or with a key of one saga.
SELECT i.key FROM syncline_idempotency AS i JOIN syncline_outbox AS o ON o.seq = i.seq
WHERE i.seq > 0 AND (o.key = $1 OR (o.key COLLATE "C" >= $2 AND o.key COLLATE "C" < $3))
UNION ALL
SELECT i.key FROM syncline_idempotency AS i JOIN syncline_delayed AS d ON d.id = i.message_id
WHERE (d.key = $4 OR (d.key COLLATE "C" >= $5 AND d.key COLLATE "C" < $6))
