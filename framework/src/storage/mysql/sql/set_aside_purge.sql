DELETE FROM syncline_set_aside WHERE position <= ?
