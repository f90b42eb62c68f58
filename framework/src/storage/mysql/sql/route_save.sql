-- The shared lock makes a take-over wait for this statement, or this statement see it.
UPDATE syncline_route
SET position = ?, seal = ?, seq = ?, last_position = ?, last_id = ?, closed = ?,
    alarm_at = NULL, lost = FALSE, updated_at = UTC_TIMESTAMP(6)
WHERE name = ? AND version = ? AND shard = ?
  AND EXISTS (SELECT 1 FROM syncline_lease WHERE name = ? AND holder = ? AND epoch = ?
              LOCK IN SHARE MODE)
