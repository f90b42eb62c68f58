-- As begin.sql, and the server rolls back what is frozen in it, or whose connection has died: MariaDB
-- ends a transaction in which nothing happens, MySQL only a session. Nobody waits long for a lock: who
-- dies while he waits is given it all the same.
SET SESSION innodb_lock_wait_timeout = LEAST(10, @@SESSION.innodb_lock_wait_timeout),
    SESSION lock_wait_timeout = LEAST(10, @@SESSION.lock_wait_timeout)
    /*M! , SESSION idle_transaction_timeout = syncline_rest */
    /*!80000 , SESSION wait_timeout = GREATEST(60, syncline_rest) */;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
