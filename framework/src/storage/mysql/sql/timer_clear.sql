DELETE FROM syncline_timer WHERE kind = ? AND owner = ? AND subject = ?
