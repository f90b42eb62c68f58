SELECT id, saga, version, start_key, status, problem,
       started_at, updated_at,
       stuck_at, ended_at,
       trouble, failing_at
FROM syncline_saga
WHERE id BETWEEN $1 AND $2
ORDER BY id DESC LIMIT $3
