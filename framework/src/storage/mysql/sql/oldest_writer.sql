-- The server keeps these times in its own time zone, whatever the session's is. A prepared
-- transaction whose session has ended has no thread, and no database that could be known.
SELECT CAST(trx.trx_mysql_thread_id AS SIGNED),
       TIMESTAMPDIFF(SECOND, CONVERT_TZ(trx.trx_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP())
FROM information_schema.innodb_trx AS trx
LEFT JOIN information_schema.processlist AS session ON session.id = trx.trx_mysql_thread_id
WHERE trx.trx_mysql_thread_id = 0
   OR (trx.trx_rows_modified > 0 AND session.db = DATABASE() AND session.id <> CONNECTION_ID())
ORDER BY trx.trx_started LIMIT 1
