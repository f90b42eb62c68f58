SELECT l.entity, l.saga_id
FROM json_each($1) AS one
JOIN syncline_saga_lock AS l ON l.entity = one.value
WHERE l.saga_id <> $2
ORDER BY 1 LIMIT 1
