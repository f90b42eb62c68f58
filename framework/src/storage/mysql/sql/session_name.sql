SELECT CONVERT(CONCAT(id, ' ', host) USING utf8mb4)
FROM information_schema.processlist WHERE id = CONNECTION_ID()
