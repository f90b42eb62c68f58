-- Of two movers, or of a mover and who cancels, the second one waits here.
SELECT CONVERT(subject USING utf8mb4) FROM syncline_timer
WHERE kind = ? AND owner = ? AND due_at <= UTC_TIMESTAMP(6)
  AND EXISTS (SELECT 1 FROM syncline_lease
              WHERE name = ? AND holder = ? AND epoch = ? AND expires_at > UTC_TIMESTAMP(6))
ORDER BY due_at, subject LIMIT ? FOR UPDATE
