-- Sessions of this database that wait for the lock of a table as a whole. The server does not tell
-- here who has it. Without the PROCESS privilege only this user's own are seen.
SELECT CONVERT(COALESCE(GROUP_CONCAT(DISTINCT NULLIF(REGEXP_SUBSTR(info, 'syncline_[a-z_]+'), '')), '')
               USING utf8mb4),
       COUNT(*), CAST(COALESCE(MAX(time), 0) AS SIGNED)
FROM information_schema.processlist
WHERE db = DATABASE() AND id <> CONNECTION_ID() AND state LIKE 'Waiting for % lock'
HAVING COUNT(*) > 0
