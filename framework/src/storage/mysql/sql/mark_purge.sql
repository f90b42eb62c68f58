DELETE FROM syncline_mark WHERE position < ?
