-- As begin.sql, and what is frozen in it is rolled back by the server: MariaDB ends a transaction in
-- which nothing happens, MySQL only a session. Nobody waits longer for a lock than that takes.
SET SESSION innodb_lock_wait_timeout = 5, SESSION lock_wait_timeout = 5
    /*M! , SESSION idle_transaction_timeout = 4 */ /*!80000 , SESSION wait_timeout = 60 */;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
