-- Syncline's tables, and partitions, in which row level security may hide rows from this role.
SELECT string_agg(relname, ', ' ORDER BY relname)
FROM pg_class
WHERE relkind IN ('r', 'p') AND relname LIKE 'syncline\_%'
  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('syncline_outbox'))
  AND row_security_active(oid)
