UPDATE syncline_timer SET due_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $4
WHERE kind = $1 AND owner = $2 AND subject = $3 AND due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
