-- One of the future was written when the clock was ahead: who still runs writes it again.
DELETE FROM syncline_process
WHERE seen_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - $1
   OR seen_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
