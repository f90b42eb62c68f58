DELETE FROM syncline_mark WHERE position < $1
