DELETE FROM syncline_migration_step WHERE version = ?
