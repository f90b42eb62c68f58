-- Where the log ended so long ago, as far as it was noted.
SELECT coalesce(max(position), 0) FROM syncline_mark
WHERE at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
