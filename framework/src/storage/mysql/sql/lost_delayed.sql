SELECT COUNT(*) FROM syncline_delayed
