-- Readers whose alarm nobody heard, and that retention need not wait for. 1, 4: positions; 2, 3, 5:
-- ages in ms.
UPDATE syncline_route SET lost = true
WHERE NOT closed AND NOT lost
  AND ((position < $1 AND updated_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $2 AND alarm_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $3)
    OR (position < $4 AND alarm_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $5))
