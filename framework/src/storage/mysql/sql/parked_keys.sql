SELECT CONVERT(`key` USING utf8mb4) FROM syncline_parked
WHERE consumer = ? AND source = ? ORDER BY `key` LIMIT ?
