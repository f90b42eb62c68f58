-- The idempotency keys of messages with one key, or with a key of one saga.
SELECT CONVERT(i.`key` USING utf8mb4) FROM syncline_idempotency AS i JOIN syncline_outbox AS o ON o.seq = i.seq
WHERE i.seq > 0 AND (o.`key` = ? OR (o.`key` >= ? AND o.`key` < ?))
UNION ALL
SELECT CONVERT(i.`key` USING utf8mb4) FROM syncline_idempotency AS i JOIN syncline_delayed AS d ON d.id = i.message_id
WHERE (d.`key` = ? OR (d.`key` >= ? AND d.`key` < ?))
