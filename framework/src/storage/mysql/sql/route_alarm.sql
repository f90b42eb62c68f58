-- Readers that stand still although something was there for them so long ago, and those that are
-- too far behind. 1, 3: positions; 2: an age in ms.
UPDATE syncline_route SET alarm_at = UTC_TIMESTAMP(6)
WHERE NOT closed AND alarm_at IS NULL
  AND ((position < ? AND updated_at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND) OR position < ?)
