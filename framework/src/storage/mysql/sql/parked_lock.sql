SELECT 1 FROM syncline_parked WHERE consumer = ? AND source = ? AND `key` = ? FOR UPDATE
