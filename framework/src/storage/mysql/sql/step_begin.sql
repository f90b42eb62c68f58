INSERT INTO syncline_migration_step (version, up, done, in_flight) VALUES (?, ?, 0, FALSE)
