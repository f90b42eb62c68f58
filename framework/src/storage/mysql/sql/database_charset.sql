SELECT CONVERT(default_character_set_name USING utf8mb4) FROM information_schema.schemata
WHERE schema_name = DATABASE()
