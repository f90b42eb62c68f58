-- Instances with a step whose command was sent again, and of which nothing was heard since.
SELECT id, CONVERT(saga USING utf8mb4), version, CONVERT(start_key USING utf8mb4), CONVERT(status USING utf8mb4), CONVERT(problem USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', started_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', updated_at) DIV 1000,
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', stuck_at) DIV 1000, TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', ended_at) DIV 1000,
       CONVERT(trouble USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', failing_at) DIV 1000
FROM syncline_saga AS s
WHERE ended_at IS NULL AND EXISTS (
    SELECT 1 FROM syncline_saga_log AS l
    WHERE l.saga_id = s.id AND l.what = 'resent' AND NOT EXISTS (
        SELECT 1 FROM syncline_saga_log AS k
        WHERE k.saga_id = l.saga_id AND k.step = l.step AND k.id > l.id
          AND k.what NOT IN ('due', 'resend', 'resent', 'operator', 'ignored')))
ORDER BY id LIMIT ?
