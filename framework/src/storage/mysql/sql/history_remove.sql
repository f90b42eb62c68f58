DELETE FROM syncline_migrations WHERE version = ?
