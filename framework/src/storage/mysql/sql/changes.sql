SELECT position, COALESCE((SELECT MAX(seq) FROM syncline_outbox), 0) FROM syncline_head
