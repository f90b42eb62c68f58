SHOW GLOBAL VARIABLES WHERE Variable_name IN (
    'version', 'read_only', 'super_read_only', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite',
    'innodb_flush_method', 'log_bin', 'sync_binlog', 'binlog_format', 'sql_mode', 'max_allowed_packet',
    'wsrep_on', 'group_replication_single_primary_mode')
