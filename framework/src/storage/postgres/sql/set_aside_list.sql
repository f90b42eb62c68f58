SELECT position, seq, problem FROM syncline_set_aside ORDER BY position LIMIT $1
