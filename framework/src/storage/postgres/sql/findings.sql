SELECT current_setting('server_version'),
       current_setting('server_version_num')::integer,
       pg_is_in_recovery(),
       current_setting('default_transaction_read_only'),
       current_setting('fsync'),
       current_setting('full_page_writes'),
       current_setting('synchronous_commit'),
       (SELECT extract(epoch FROM max(now() - prepared))::bigint FROM pg_prepared_xacts),
       -- Without pg_read_all_stats other roles' transactions are not seen.
       (SELECT extract(epoch FROM max(now() - xact_start))::bigint FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid())
