-- The server does not tell without a plugin who has locked a table as a whole: while somebody waits, the
-- sessions of this database that rest are named, which is where such a lock is, longest first. Without
-- the PROCESS right they are the role's own.
SELECT CONCAT('connection ', who.ID, ' (', who.USER, ', ', who.HOST, ') rests for ', who.TIME,
              ' s while others wait for a lock (', waits.STATE, ')')
FROM information_schema.PROCESSLIST AS who
JOIN (SELECT MIN(STATE) AS STATE FROM information_schema.PROCESSLIST
      WHERE DB = DATABASE() AND STATE LIKE 'Waiting for%lock%') AS waits ON waits.STATE IS NOT NULL
WHERE who.DB = DATABASE() AND who.ID <> CONNECTION_ID() AND who.COMMAND = 'Sleep'
ORDER BY who.TIME DESC
LIMIT 5
