-- Not those of a time when the clock was ahead.
SELECT name, holder, epoch,
       (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint
FROM syncline_lease
WHERE expires_at > clock_timestamp()
  AND expires_at <= clock_timestamp() + interval '10 minutes'
ORDER BY name
