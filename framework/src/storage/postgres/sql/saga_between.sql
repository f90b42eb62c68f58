SELECT id, saga, version, start_key, status, problem,
       (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM updated_at) * 1000)::bigint,
       (extract(epoch FROM stuck_at) * 1000)::bigint, (extract(epoch FROM ended_at) * 1000)::bigint,
       trouble, (extract(epoch FROM failing_at) * 1000)::bigint
FROM syncline_saga
WHERE id BETWEEN $1 AND $2
ORDER BY id DESC LIMIT $3
