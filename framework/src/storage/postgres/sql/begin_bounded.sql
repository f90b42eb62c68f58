-- As begin.sql, and the server rolls back what is frozen in it, or whose connection has died.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = '60s'
