SELECT MIN(due_at) - CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM syncline_timer WHERE kind = 'saga'
