-- What a command has given up ends at the server. 0 is no limit; MySQL limits only what reads.
SET SESSION lock_wait_timeout = LEAST(syncline_lock, @@SESSION.lock_wait_timeout)
    /*M! , SESSION max_statement_time = IF(@@SESSION.max_statement_time = 0, syncline_seconds,
           LEAST(syncline_seconds, @@SESSION.max_statement_time)) */
    /*!80000 , SESSION max_execution_time = IF(@@SESSION.max_execution_time = 0, syncline_millis,
           LEAST(syncline_millis, @@SESSION.max_execution_time)) */
