-- For MySQL, whose innodb_trx cannot be read while a statement runs whose text it cannot convert. Whoever
-- writes has the lock IX of a table. Transactions without a thread are not seen here.
SELECT CAST(session.processlist_id AS SIGNED), CAST(trx.timer_wait DIV 1000000000000 AS SIGNED)
FROM performance_schema.events_transactions_current AS trx
JOIN performance_schema.threads AS session ON session.thread_id = trx.thread_id
WHERE trx.state = 'ACTIVE' AND session.processlist_db = DATABASE()
  AND session.processlist_id <> CONNECTION_ID()
  AND EXISTS (SELECT 1 FROM performance_schema.data_locks AS held
              WHERE held.thread_id = trx.thread_id AND held.lock_type = 'TABLE' AND held.lock_mode = 'IX')
ORDER BY trx.timer_wait DESC LIMIT 1
