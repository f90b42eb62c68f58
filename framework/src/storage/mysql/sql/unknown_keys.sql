SELECT DISTINCT CONVERT(source USING utf8mb4), CONVERT(`key` USING utf8mb4) FROM syncline_held
WHERE consumer = ? AND unknown
