DELETE FROM syncline_barrier
WHERE touched_at < UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
ORDER BY touched_at LIMIT ?
