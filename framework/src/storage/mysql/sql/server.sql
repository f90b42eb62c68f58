SELECT CONVERT(CONCAT_WS(' ', @@hostname, @@port, @@server_id, DATABASE(),
                         (SELECT create_time FROM information_schema.tables
                          WHERE table_schema = DATABASE() AND table_name = 'syncline_node'))
               USING utf8mb4),
       UNIX_TIMESTAMP()
