-- What is frozen in a transaction of the relay's own (only sealing has one of several statements) is
-- rolled back by the server: MariaDB ends a transaction in which nothing happens, MySQL only a
-- session. Nobody waits longer for a lock than that takes. A row that another program has written past
-- the table's rules is sealed all the same: it is set aside when it is read, and stops nothing.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES'),
    SESSION innodb_lock_wait_timeout = 5
    /*M! , SESSION idle_transaction_timeout = 4, SESSION check_constraint_checks = OFF */ /*!80000 , SESSION wait_timeout = 60 */
