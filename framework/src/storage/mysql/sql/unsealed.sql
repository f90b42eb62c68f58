SELECT COUNT(*) FROM syncline_outbox WHERE position IS NULL
