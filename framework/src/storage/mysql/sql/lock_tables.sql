-- The statement that locks all of our tables: writers wait until they are gone or the run ends.
SELECT CONVERT(CONCAT('LOCK TABLES ', GROUP_CONCAT(CONCAT(table_name, ' WRITE') SEPARATOR ', '))
               USING utf8mb4)
FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name REGEXP '^syncline_[a-z_]+$'
