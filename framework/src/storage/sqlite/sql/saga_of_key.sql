SELECT id, saga, version, start_key, status, problem,
       started_at, updated_at,
       stuck_at, ended_at,
       trouble, failing_at
FROM syncline_saga
WHERE start_key = $1
ORDER BY id DESC LIMIT $2
