SELECT DISTINCT source, key FROM syncline_held
WHERE consumer = $1 AND unknown
