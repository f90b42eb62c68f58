-- Not those of a time when the clock was ahead.
SELECT CONVERT(name USING utf8mb4), holder, epoch,
       TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at) DIV 1000
FROM syncline_lease
WHERE expires_at > UTC_TIMESTAMP(6)
  AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE
ORDER BY name
