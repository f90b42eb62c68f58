SELECT 1 FROM syncline_parked WHERE consumer = $1 AND source = $2 AND key = $3
