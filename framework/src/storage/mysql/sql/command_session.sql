-- The connection of a command may die while it holds what others need, or waits for it.
SET SESSION innodb_lock_wait_timeout = LEAST(10, @@SESSION.innodb_lock_wait_timeout)
    /*M! , SESSION idle_transaction_timeout = 60 */
