-- As begin.sql, and the server rolls back what is frozen in it, or whose connection has died: MariaDB
-- ends a transaction in which nothing happens, MySQL only a session. (The first setting stays as it
-- is: a list cannot begin with a comment.)
SET SESSION innodb_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout
    /*M! , SESSION idle_transaction_timeout = 60 */ /*!80000 , SESSION wait_timeout = 60 */;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
