-- The newest first; after a page, those that are older than its last one.
SELECT id, saga, version, start_key, status, problem,
       started_at, updated_at,
       stuck_at, ended_at,
       trouble, failing_at
FROM syncline_saga
WHERE ($1 OR saga = $2) AND ($3 OR status = $4) AND id < $5
ORDER BY id DESC LIMIT $6
