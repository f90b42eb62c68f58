-- The leases that hold now. Not those of a time when the clock was ahead: they are taken over.
SELECT name, holder, expires_at
FROM syncline_lease
WHERE expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
  AND expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
ORDER BY name
