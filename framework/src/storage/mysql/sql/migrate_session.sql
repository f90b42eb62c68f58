-- For a connection that only migrates. Nobody waits for ever behind a table lock that it wants.
-- A procedure keeps the modes and the character sets with which it was made.
SET SESSION completion_type = 'NO_CHAIN', SESSION autocommit = 0;
COMMIT;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET NAMES utf8mb4;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00',
    SESSION sql_safe_updates = 0, SESSION lock_wait_timeout = 10, SESSION group_concat_max_len = 100000
    /*M! , SESSION max_statement_time = 0 */
