-- As begin.sql, and fails in a session that takes no writes, which it keeps from when it was made: by a
-- division by nought, for no statement says it without a lock or a transaction id. The three are one
-- transaction, and one that fails before its BEGIN is over: the connection is clean.
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT 1 / (current_setting('transaction_read_only') = 'off')::int;
BEGIN
