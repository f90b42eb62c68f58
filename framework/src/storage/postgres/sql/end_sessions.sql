-- This role's own sessions of these names, but those that rest: they wait for nobody, and a pooler may
-- have lent them to another client.
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE application_name = ANY ($1) AND datname = current_database() AND usename = session_user
  AND pid <> pg_backend_pid() AND state <> 'idle'
