-- Not those of a time when the clock was ahead.
SELECT route, holder FROM syncline_member
WHERE expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
  AND expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
ORDER BY route, holder
