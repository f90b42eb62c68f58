-- As begin_waiting.sql, and the server rolls back what is frozen in it, or whose connection has died:
-- MariaDB ends a transaction in which nothing happens, MySQL only a session.
SET SESSION innodb_lock_wait_timeout = LEAST(10, @@SESSION.innodb_lock_wait_timeout)
    /*M! , SESSION idle_transaction_timeout = 60 */ /*!80000 , SESSION wait_timeout = 60 */;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
