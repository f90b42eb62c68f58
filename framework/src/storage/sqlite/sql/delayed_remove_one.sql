DELETE FROM syncline_delayed WHERE id = $1
