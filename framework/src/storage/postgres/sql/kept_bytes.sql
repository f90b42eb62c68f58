SELECT (pg_total_relation_size('syncline_seal')
    + (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits
       WHERE inhparent = to_regclass('syncline_outbox')))::bigint
