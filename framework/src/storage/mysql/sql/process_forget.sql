-- One of the future was written when the clock was ahead: who still runs writes it again.
DELETE FROM syncline_process
WHERE seen_at < UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
   OR seen_at > UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE
