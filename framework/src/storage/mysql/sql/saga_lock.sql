-- In the order of their bytes, so that two sagas cannot wait for each other.
INSERT INTO syncline_saga_lock (entity, saga_id)
SELECT one.entity, ?
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    entity VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS one
ORDER BY CAST(one.entity AS BINARY)
ON DUPLICATE KEY UPDATE entity = VALUES(entity)
