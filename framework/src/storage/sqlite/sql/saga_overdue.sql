-- Instances with a step whose command was sent again, and of which nothing was heard since.
SELECT id, saga, version, start_key, status, problem,
       started_at, updated_at,
       stuck_at, ended_at,
       trouble, failing_at
FROM syncline_saga AS s
WHERE ended_at IS NULL AND EXISTS (
    SELECT 1 FROM syncline_saga_log AS l
    WHERE l.saga_id = s.id AND l.what = 'resent' AND NOT EXISTS (
        SELECT 1 FROM syncline_saga_log AS k
        WHERE k.saga_id = l.saga_id AND k.step = l.step AND k.id > l.id
          AND k.what NOT IN ('due', 'resend', 'resent', 'operator', 'ignored')))
ORDER BY id LIMIT $1
