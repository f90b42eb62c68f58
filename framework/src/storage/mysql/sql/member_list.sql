-- Not those of a time when the clock was ahead.
SELECT CONVERT(route USING utf8mb4), holder FROM syncline_member
WHERE expires_at > UTC_TIMESTAMP(6)
  AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE
ORDER BY route, holder
