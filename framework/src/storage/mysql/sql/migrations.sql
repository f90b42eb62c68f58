SELECT version, description, checksum, installed_on FROM syncline_migrations ORDER BY version
