UPDATE syncline_migration_step SET done = ?, in_flight = ? WHERE version = ?
