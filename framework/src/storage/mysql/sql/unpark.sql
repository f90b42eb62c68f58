DELETE FROM syncline_parked WHERE consumer = ? AND source = ? AND `key` = ?
