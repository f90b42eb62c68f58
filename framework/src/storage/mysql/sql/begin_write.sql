-- As begin.sql, and fails in a session that takes no writes, which it keeps from when it was made: by a
-- subquery of two rows, before a transaction is open (DO would swallow the error).
SET @syncline_writes = IF(/*M! @@SESSION.tx_read_only */ /*!80000 @@SESSION.transaction_read_only */, (SELECT 1 UNION SELECT 2), 0);
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
