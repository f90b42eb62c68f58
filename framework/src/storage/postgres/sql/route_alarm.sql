-- Readers that stand still although something was there for them so long ago, and those that are
-- too far behind. 1, 3: positions; 2: an age in ms.
UPDATE syncline_route SET alarm_at = clock_timestamp()
WHERE NOT closed AND alarm_at IS NULL
  AND ((position < $1 AND updated_at <= clock_timestamp() - $2 * interval '1 millisecond') OR position < $3)
