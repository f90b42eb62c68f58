-- A TIMESTAMP is read in the session's time zone.
SELECT version, description, checksum, CONVERT_TZ(installed_on, @@SESSION.time_zone, '+00:00')
FROM syncline_migrations ORDER BY version
