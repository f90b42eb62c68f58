-- As begin.sql, and nobody waits long for a lock: whose connection has died while it waited would be
-- given it all the same, and keep it.
SET SESSION innodb_lock_wait_timeout = LEAST(10, @@SESSION.innodb_lock_wait_timeout);
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
START TRANSACTION;
SAVEPOINT syncline_secret
