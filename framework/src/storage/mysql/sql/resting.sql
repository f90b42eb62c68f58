-- The sessions of this database that wait for no lock, those at rest first, the longest so before others:
-- who has locked a table as a whole, or its definition by an open transaction, is among them, and without a
-- plugin the server does not tell which it is. Without the PROCESS privilege they are this user's own. Of a
-- statement only its kind is told; one at rest has none.
SELECT CAST(who.id AS SIGNED), CONVERT(who.user USING utf8mb4), CONVERT(who.host USING utf8mb4),
       CONVERT(UPPER(COALESCE(REGEXP_SUBSTR(who.info, '[[:alpha:]]+'), '')) USING utf8mb4),
       CAST(who.time AS SIGNED),
       DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL who.time SECOND, '%Y-%m-%dT%H:%i:%s.000Z')
FROM information_schema.processlist AS who
WHERE who.db = DATABASE() AND who.id <> CONNECTION_ID()
  AND (who.state IS NULL OR who.state NOT LIKE 'Waiting for % lock')
ORDER BY who.command <> 'Sleep', who.time DESC LIMIT 5
