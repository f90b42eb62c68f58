-- The leases that hold now. Not those of a time when the clock was ahead: they are taken over.
SELECT name, holder, (extract(epoch FROM expires_at) * 1000)::bigint
FROM syncline_lease
WHERE expires_at > clock_timestamp()
  AND expires_at <= clock_timestamp() + interval '10 minutes'
ORDER BY name
