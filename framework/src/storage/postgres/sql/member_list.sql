-- Not those of a time when the clock was ahead.
SELECT route, holder FROM syncline_member
WHERE expires_at > clock_timestamp()
  AND expires_at <= clock_timestamp() + interval '10 minutes'
ORDER BY route, holder
