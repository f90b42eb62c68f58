SELECT count(*), (extract(epoch FROM min(due_at)) * 1000)::bigint
FROM syncline_timer WHERE kind = $1 AND owner = $2
