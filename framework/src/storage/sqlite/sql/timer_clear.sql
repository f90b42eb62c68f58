DELETE FROM syncline_timer WHERE kind = $1 AND owner = $2 AND subject = $3
