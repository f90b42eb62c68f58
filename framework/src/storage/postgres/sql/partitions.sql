-- The partitions with bounds, in order: name, the values from and below which they hold, their
-- size without indexes, and the statement that empties them.
SELECT format('%I.%I', nspname, relname), low, high, pg_relation_size(oid),
       format('TRUNCATE %I.%I', nspname, relname)
FROM (
    SELECT part.oid, nspname, relname,
           coalesce(bound[1]::bigint, 0) AS low, bound[2]::bigint AS high
    FROM pg_inherits
    JOIN pg_class AS part ON part.oid = inhrelid
    JOIN pg_namespace ON pg_namespace.oid = relnamespace,
         regexp_match(pg_get_expr(relpartbound, part.oid),
                      'FROM [(]''?(?:([0-9]+)|MINVALUE)''?[)] TO [(]''?([0-9]+)''?[)]') AS bound
    WHERE inhparent = to_regclass('syncline_outbox') AND bound IS NOT NULL
) AS parts
ORDER BY low
