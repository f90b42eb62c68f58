SELECT COALESCE(MAX(seq), 0) FROM syncline_outbox
