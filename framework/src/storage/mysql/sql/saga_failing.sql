-- Instances with a step whose last attempt has failed, the longest failing first.
SELECT id, CONVERT(saga USING utf8mb4), version, CONVERT(start_key USING utf8mb4), CONVERT(status USING utf8mb4), CONVERT(problem USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', started_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', updated_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', stuck_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', ended_at) DIV 1000,
       CONVERT(trouble USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', failing_at) DIV 1000
FROM syncline_saga
WHERE failing_at IS NOT NULL ORDER BY failing_at LIMIT ?
