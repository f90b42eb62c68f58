-- Sessions whose locks others of this database wait for, and those that have a lock on a table of
-- ours which keeps writers out. What has held a lock for less than $1 seconds is not told: another
-- role's times may be hidden, and count as none. waitstart is there from PostgreSQL 14 on.
WITH here AS (
    SELECT oid FROM pg_database WHERE datname = current_database()
), waits AS (
    SELECT edge.pid, unnest(pg_blocking_pids(edge.pid)) AS by, edge.waitstart, class.relname AS what
    FROM pg_locks AS edge
    JOIN pg_stat_activity AS session ON session.pid = edge.pid
    LEFT JOIN pg_class AS class
        ON class.oid = edge.relation AND edge.database = (SELECT oid FROM here)
    WHERE NOT edge.granted AND session.datname = current_database()
), held AS (
    SELECT by AS pid, what, pid AS waiter, waitstart FROM waits
    UNION ALL
    SELECT own.pid, class.relname, NULL, NULL
    FROM pg_locks AS own
    JOIN pg_class AS class ON class.oid = own.relation
    WHERE own.granted AND own.locktype = 'relation' AND own.database = (SELECT oid FROM here)
      AND own.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND class.relname LIKE 'syncline\_%' AND own.pid IS DISTINCT FROM pg_backend_pid()
), found AS (
    SELECT held.pid,
           string_agg(DISTINCT held.what::text, ', ') AS what,
           count(DISTINCT held.waiter) AS waiting,
           extract(epoch FROM max(clock_timestamp() - held.waitstart)) AS waited,
           extract(epoch FROM max(clock_timestamp() - session.xact_start)) AS open,
           max(concat_ws(', ', session.usename, nullif(session.application_name, ''),
                         host(session.client_addr), nullif(session.state, ''),
                         'its last statement: ' || nullif(
                             left(regexp_replace(session.query, '[[:space:]]+', ' ', 'g'), 120), ''))) AS who
    FROM held
    LEFT JOIN pg_stat_activity AS session ON session.pid = held.pid
    -- A session that waits itself is not the first in the row.
    WHERE held.pid IS NULL OR held.pid NOT IN (SELECT pid FROM waits)
    GROUP BY held.pid
)
SELECT CASE WHEN coalesce(pid, 0) = 0 THEN 'a prepared transaction (see pg_prepared_xacts)'
            ELSE concat('pid ', pid, ' (', who, ')') END,
       coalesce(what, ''), waiting, coalesce(greatest(waited, 0), 0)::bigint, coalesce(open, 0)::bigint
FROM found
WHERE coalesce(waited, 0) >= $1 OR coalesce(open, 0) >= $1 OR coalesce(pid, 0) = 0
ORDER BY 4 DESC, 5 DESC LIMIT 20
