-- Whether the role may make partitions and empty them.
SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')
FROM pg_class WHERE oid = to_regclass('syncline_outbox') AND relkind = 'p'
