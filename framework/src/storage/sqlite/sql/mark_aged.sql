-- Where the log ended so long ago, as far as it was noted.
SELECT coalesce(max(position), 0) FROM syncline_mark
WHERE at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1
