SELECT CONVERT(@@SESSION.character_set_client USING utf8mb4),
       CONVERT(@@SESSION.character_set_connection USING utf8mb4),
       CONVERT(COALESCE(@@SESSION.character_set_results, 'NULL') USING utf8mb4),
       CONVERT(@@SESSION.autocommit USING utf8mb4),
       CONVERT(@@SESSION.completion_type USING utf8mb4),
       CONVERT(@@SESSION.sql_safe_updates USING utf8mb4)
