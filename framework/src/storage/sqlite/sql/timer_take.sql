UPDATE syncline_timer SET due_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $1
WHERE kind = $2 AND owner = $3 AND subject = $4 AND due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
