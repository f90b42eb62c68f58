-- Sessions for which others wait, or that have locked a table of ours as a whole. What they run is cut.
SELECT concat('pid ', who.pid, ' (', coalesce(who.usename, '?'), ', ',
              coalesce(nullif(who.application_name, ''), 'no name'), ', ',
              coalesce(who.client_addr::text, 'local'), ') is ', coalesce(who.state, 'at work'),
              ', its transaction open for ',
              coalesce(round(extract(epoch FROM clock_timestamp() - who.xact_start))::text, '?'),
              ' s', coalesce(', locks ' || (
                  SELECT string_agg(DISTINCT class.relname, ', ' ORDER BY class.relname)
                  FROM pg_locks AS held JOIN pg_class AS class ON class.oid = held.relation
                  WHERE held.pid = who.pid AND held.granted AND class.relname LIKE 'syncline%'
                    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND held.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
              ), ''), '; its last statement: ', left(regexp_replace(coalesce(who.query, ''), '\s+', ' ', 'g'), 120))
FROM pg_stat_activity AS who
WHERE who.pid <> pg_backend_pid()
  AND (who.pid IN (SELECT unnest(pg_blocking_pids(waits.pid))
                   FROM pg_stat_activity AS waits
                   WHERE waits.wait_event_type = 'Lock' AND waits.datname = current_database())
       OR EXISTS (SELECT 1 FROM pg_locks AS held JOIN pg_class AS class ON class.oid = held.relation
                  WHERE held.pid = who.pid AND held.granted AND class.relname LIKE 'syncline%'
                    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND held.mode IN ('ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')))
ORDER BY who.xact_start
LIMIT 5
