DELETE FROM syncline_timer WHERE kind = 'saga'
