SELECT key FROM syncline_parked WHERE consumer = $1 AND source = $2 ORDER BY key LIMIT $3
