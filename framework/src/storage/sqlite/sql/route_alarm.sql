-- Readers that stand still although something was there for them so long ago, and those that are
-- too far behind. 1, 3: positions; 2: an age in ms.
UPDATE syncline_route SET alarm_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE NOT closed AND alarm_at IS NULL
  AND ((position < $1 AND updated_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $2) OR position < $3)
