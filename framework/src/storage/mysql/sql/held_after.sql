SELECT count(*) FROM syncline_held
WHERE consumer = ? AND source = ? AND stream = ? AND position > ?
