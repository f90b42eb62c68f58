DELETE FROM syncline_held WHERE id = ?
