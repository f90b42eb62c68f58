DELETE FROM syncline_operation WHERE began_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1
