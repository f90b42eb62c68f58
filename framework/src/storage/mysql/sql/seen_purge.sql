DELETE FROM syncline_seen
WHERE consumer = ? AND seen_at < UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
ORDER BY seen_at LIMIT ?
