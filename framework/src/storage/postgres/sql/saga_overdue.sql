-- Instances with a step whose command was sent again, and of which nothing was heard since.
SELECT id, saga, version, start_key, status, problem,
       (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM updated_at) * 1000)::bigint,
       (extract(epoch FROM stuck_at) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint,
       trouble, (extract(epoch FROM failing_at) * 1000)::bigint
FROM syncline_saga AS s
WHERE ended_at IS NULL AND EXISTS (
    SELECT 1 FROM syncline_saga_log AS l
    WHERE l.saga_id = s.id AND l.what = 'resent' AND NOT EXISTS (
        SELECT 1 FROM syncline_saga_log AS k
        WHERE k.saga_id = l.saga_id AND k.step = l.step AND k.id > l.id
          AND k.what NOT IN ('due', 'resend', 'resent', 'operator', 'ignored')))
ORDER BY id LIMIT $1
