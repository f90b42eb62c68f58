-- As begin_bounded.sql, in a transaction that has begun.
SELECT set_config('idle_in_transaction_session_timeout', '60s', true),
       set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '10s'
                                       ELSE current_setting('lock_timeout') END, true)
