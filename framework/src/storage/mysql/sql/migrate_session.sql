-- For a connection that only migrates. Nobody waits for ever behind a table lock that it wants.
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES');
SET SESSION lock_wait_timeout = 10;
SET SESSION group_concat_max_len = 100000;
SET SESSION autocommit = 0
