-- Nothing is left to the server's defaults, nor to the pool that this one is made after. What is
-- frozen in a transaction of the relay's own (only sealing has one of several statements) is rolled
-- back by the server: MariaDB ends a transaction in which nothing happens, MySQL only a session.
-- Nobody waits longer for a lock than that takes. Whether the session may write stays what its
-- administrator has set. A row that another program has written past the table's rules is sealed all
-- the same: it is set aside when it is read, and stops nothing.
SET SESSION autocommit = 1, SESSION completion_type = 'NO_CHAIN';
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET NAMES utf8mb4;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00',
    SESSION sql_safe_updates = 0, SESSION innodb_lock_wait_timeout = 5, SESSION lock_wait_timeout = 5
    /*M! , SESSION idle_transaction_timeout = 4, SESSION check_constraint_checks = OFF */ /*!80000 , SESSION wait_timeout = 60 */
