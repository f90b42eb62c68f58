SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'syncline_outbox'), 0)
FROM syncline_node
