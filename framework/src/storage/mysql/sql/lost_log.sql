SELECT COUNT(*) FROM syncline_outbox
