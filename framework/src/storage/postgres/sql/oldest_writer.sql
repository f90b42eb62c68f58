-- Who writes into the outbox has its lock until the end; a prepared transaction has no process, and
-- is known by the lock on its id.
WITH writer AS (
    SELECT pid, virtualtransaction FROM pg_locks
    WHERE relation = 'syncline_outbox'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND pid IS DISTINCT FROM pg_backend_pid()
), found AS (
    SELECT 'pid ' || writer.pid AS who, clock_timestamp() - activity.xact_start AS age
    FROM writer JOIN pg_stat_activity AS activity ON activity.pid = writer.pid
    UNION ALL
    SELECT 'prepared transaction "' || prepared.gid || '"', clock_timestamp() - prepared.prepared
    FROM writer
    JOIN pg_locks AS own
        ON own.locktype = 'transactionid' AND own.pid IS NULL
       AND own.virtualtransaction = writer.virtualtransaction
    JOIN pg_prepared_xacts AS prepared ON prepared.transaction = own.transactionid
    WHERE writer.pid IS NULL
)
SELECT who, coalesce(extract(epoch FROM age), 0)::bigint
FROM found ORDER BY age DESC NULLS LAST LIMIT 1
