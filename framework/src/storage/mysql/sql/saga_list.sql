-- The newest first; after a page, those that are older than its last one.
SELECT id, CONVERT(saga USING utf8mb4), version, CONVERT(start_key USING utf8mb4), CONVERT(status USING utf8mb4), CONVERT(problem USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', started_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', updated_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', stuck_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', ended_at) DIV 1000,
       CONVERT(trouble USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', failing_at) DIV 1000
FROM syncline_saga
WHERE (? OR saga = ?) AND (? OR status = ?) AND id < ?
ORDER BY id DESC LIMIT ?
