-- A plain read: one point in time. A read that locks has none: it could pass a row that commits
-- behind it, and take the next one of the same key.
SELECT seq FROM syncline_outbox FORCE INDEX (syncline_outbox_position)
WHERE position = 0
  AND EXISTS (SELECT 1 FROM syncline_lease
              WHERE name = ? AND holder = ? AND epoch = ? AND expires_at > UTC_TIMESTAMP(6))
ORDER BY seq LIMIT ?
