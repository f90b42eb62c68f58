-- The statements that make the next partition of $1 sequence values, when less than twice as many
-- are left; where the others end, or beyond what lands in the default partition by then.
-- The constraint spares ATTACH a scan; afterwards every INSERT would only pay for it.
WITH last AS (
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS seq FROM syncline_outbox_seq
), next AS (
    SELECT CASE WHEN $2 > seq THEN $2 ELSE seq + $1 END AS low FROM last WHERE $2 <= seq + 2 * $1
)
SELECT format('CREATE TABLE %1$I.%2$I (LIKE %1$I.syncline_outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (seq), '
              'CONSTRAINT bounds CHECK (seq >= %3$s AND seq < %4$s)); '
              'ALTER TABLE %1$I.syncline_outbox ATTACH PARTITION %1$I.%2$I FOR VALUES FROM (%3$s) TO (%4$s); '
              'ALTER TABLE %1$I.%2$I DROP CONSTRAINT bounds',
              nspname, 'syncline_outbox_' || low, low, low + $1)
FROM next, pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass('syncline_outbox')
