SELECT l.entity, l.saga_id
FROM json_array_elements_text($1::json) AS one (entity)
JOIN syncline_saga_lock AS l ON l.entity = one.entity
WHERE l.saga_id <> $2
ORDER BY 1 LIMIT 1
