SELECT version, up, done, in_flight FROM syncline_migration_step ORDER BY version LIMIT 1
