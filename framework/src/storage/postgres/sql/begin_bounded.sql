-- As begin_waiting.sql, and the server rolls back what is frozen in it, or whose connection has died.
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '10s'
                                       ELSE current_setting('lock_timeout') END, true),
       set_config('idle_in_transaction_session_timeout', '60s', true)
