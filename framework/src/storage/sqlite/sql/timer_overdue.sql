SELECT owner, count(*), min(due_at)
FROM syncline_timer
WHERE kind = $1 AND ($2 OR owner = $3) AND due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $4
GROUP BY owner ORDER BY owner
