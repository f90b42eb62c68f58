SELECT COUNT(*) FROM syncline_outbox WHERE position = 0
