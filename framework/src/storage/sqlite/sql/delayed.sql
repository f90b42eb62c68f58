SELECT count(*), min(due_at)
FROM syncline_timer WHERE kind = $1 AND owner = $2
