-- Tells this database from another one, and from itself when its server was started anew or its
-- tables were made anew.
SELECT concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time(),
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 to_regclass('syncline_node')::oid)
