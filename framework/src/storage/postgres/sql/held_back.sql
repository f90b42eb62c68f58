-- What has been keeping rows from being removed for more than $1 ms: transactions that write (the
-- floor waits for them), and those that have a lock on a part of the outbox.
SELECT format('the transaction of pid %s (%s, %s)', pid, coalesce(usename, '?'),
              coalesce(nullif(application_name, ''), 'no name')),
       extract(epoch FROM clock_timestamp() - xact_start)::bigint
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND xact_start < clock_timestamp() - $1 * interval '1 millisecond'
  AND (backend_xid IS NOT NULL OR pid IN (
      SELECT pid FROM pg_locks JOIN pg_inherits ON inhrelid = relation
      WHERE inhparent = to_regclass('syncline_outbox') AND granted))
UNION ALL
SELECT format('the prepared transaction %L', gid), extract(epoch FROM clock_timestamp() - prepared)::bigint
FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - $1 * interval '1 millisecond'
ORDER BY 2 DESC LIMIT 10
