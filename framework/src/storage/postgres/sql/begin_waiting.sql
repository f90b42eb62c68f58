-- As begin.sql, and nobody waits long for a lock, unless a limit was set: whose connection has died
-- while it waited would be given it all the same, and keep it.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '10s'
                                       ELSE current_setting('lock_timeout') END, true)
