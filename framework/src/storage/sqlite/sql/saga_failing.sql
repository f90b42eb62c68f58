-- Instances with a step whose last attempt has failed, the longest failing first.
SELECT id, saga, version, start_key, status, problem,
       started_at, updated_at,
       stuck_at, ended_at,
       trouble, failing_at
FROM syncline_saga
WHERE failing_at IS NOT NULL ORDER BY failing_at LIMIT $1
