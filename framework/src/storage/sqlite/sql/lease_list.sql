-- Not those of a time when the clock was ahead.
SELECT name, holder, epoch, expires_at - CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM syncline_lease
WHERE expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
  AND expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
ORDER BY name
