-- Whether what relay_session.sql has set holds in the next statement.
SELECT current_setting('default_transaction_isolation') = 'read committed'
   AND current_setting('synchronous_commit') = 'on'
   AND current_setting('idle_in_transaction_session_timeout') = '4s'
   AND current_setting('lock_timeout') = '5s'
   AND current_setting('jit') = 'off'
   AND current_setting('row_security') = 'off'
