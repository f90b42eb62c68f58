INSERT INTO syncline_saga_lock (entity, saga_id)
SELECT one.entity, ?
FROM JSON_TABLE(?, '$[*]' COLUMNS (entity VARCHAR(255) PATH '$')) AS one ORDER BY one.entity
ON DUPLICATE KEY UPDATE entity = VALUES(entity)
