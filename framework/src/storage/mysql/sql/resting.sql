-- The sessions of this database that rest, longest first: who has locked a table as a whole while others
-- wait is among them, and without a plugin the server does not tell which it is. Without the PROCESS
-- privilege they are this user's own.
SELECT CONVERT(CONCAT('connection ', who.id, ' (', who.user, ', ', who.host, ', at rest for ', who.time, ' s)')
               USING utf8mb4)
FROM information_schema.processlist AS who
WHERE who.db = DATABASE() AND who.id <> CONNECTION_ID() AND who.command = 'Sleep'
ORDER BY who.time DESC LIMIT 5
