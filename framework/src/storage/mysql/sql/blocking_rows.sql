-- MariaDB only, and with the PROCESS privilege: transactions whose row locks others wait for. The server
-- keeps these times in its own time zone, whatever the session's is.
SELECT CAST(blocking.trx_mysql_thread_id AS SIGNED),
       CONVERT(COALESCE(MAX(held.lock_table), '') USING utf8mb4),
       COUNT(DISTINCT waiting.trx_id),
       COALESCE(MAX(TIMESTAMPDIFF(SECOND, CONVERT_TZ(waiting.trx_wait_started, 'SYSTEM', '+00:00'),
                                  UTC_TIMESTAMP())), 0),
       COALESCE(MAX(TIMESTAMPDIFF(SECOND, CONVERT_TZ(blocking.trx_started, 'SYSTEM', '+00:00'),
                                  UTC_TIMESTAMP())), 0) AS age,
       CONVERT(COALESCE(MAX(holder.user), '') USING utf8mb4),
       CONVERT(COALESCE(MAX(holder.host), '') USING utf8mb4),
       CONVERT(UPPER(COALESCE(MAX(REGEXP_SUBSTR(holder.info, '[[:alpha:]]+')), '')) USING utf8mb4),
       CAST(COALESCE(MAX(holder.time), 0) AS SIGNED),
       COALESCE(DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL MAX(holder.time) SECOND, '%Y-%m-%dT%H:%i:%s.000Z'), '')
FROM information_schema.innodb_lock_waits AS edge
JOIN information_schema.innodb_trx AS waiting ON waiting.trx_id = edge.requesting_trx_id
JOIN information_schema.innodb_trx AS blocking ON blocking.trx_id = edge.blocking_trx_id
LEFT JOIN information_schema.innodb_locks AS held ON held.lock_id = edge.blocking_lock_id
LEFT JOIN information_schema.processlist AS session
    ON session.id = waiting.trx_mysql_thread_id
LEFT JOIN information_schema.processlist AS holder
    ON holder.id = blocking.trx_mysql_thread_id
WHERE session.db = DATABASE() AND blocking.trx_state <> 'LOCK WAIT'
GROUP BY blocking.trx_mysql_thread_id
HAVING age >= ?
ORDER BY age DESC LIMIT 20
