-- As begin.sql, and the server rolls back what is frozen in it, or whose connection has died. Nobody
-- waits long for a lock, unless a limit was set: who dies while he waits is given it all the same.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('idle_in_transaction_session_timeout', 'syncline_rests', true),
       set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '10s'
                                       ELSE current_setting('lock_timeout') END, true)
