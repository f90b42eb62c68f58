-- The server keeps these times in its own time zone, whatever the session's is. A prepared
-- transaction whose session has ended has no thread.
SELECT CAST(trx_mysql_thread_id AS SIGNED),
       TIMESTAMPDIFF(SECOND, CONVERT_TZ(trx_started, 'SYSTEM', '+00:00'), UTC_TIMESTAMP())
FROM information_schema.innodb_trx
WHERE trx_mysql_thread_id <> CONNECTION_ID() AND (trx_rows_modified > 0 OR trx_mysql_thread_id = 0)
ORDER BY trx_started LIMIT 1
