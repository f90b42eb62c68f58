-- The server keeps these times in its own time zone, whatever the session's is.
SELECT TIMESTAMPDIFF(SECOND, CONVERT_TZ(MIN(trx_started), 'SYSTEM', '+00:00'), UTC_TIMESTAMP())
FROM information_schema.innodb_trx
WHERE trx_mysql_thread_id <> CONNECTION_ID()
