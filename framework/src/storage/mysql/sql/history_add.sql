INSERT INTO syncline_migrations (version, description, success, checksum, execution_time)
VALUES (?, ?, TRUE, ?, 0)
