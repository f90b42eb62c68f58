SELECT CONVERT(source USING utf8mb4) FROM syncline_source
WHERE role = ? AND seen_at >= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
ORDER BY source
