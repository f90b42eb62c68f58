DELETE FROM syncline_held WHERE id = $1
