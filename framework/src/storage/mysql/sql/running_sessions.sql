-- Sessions that do not rest, by number and name; without the PROCESS privilege only this user's own.
SELECT CAST(id AS SIGNED), CONVERT(CONCAT(id, ' ', host) USING utf8mb4)
FROM information_schema.processlist
WHERE id <> CONNECTION_ID() AND command <> 'Sleep'
