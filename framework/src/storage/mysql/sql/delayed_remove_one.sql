DELETE FROM syncline_delayed WHERE id = ?
