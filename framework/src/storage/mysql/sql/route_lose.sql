-- Readers whose alarm nobody heard, and that retention need not wait for. 1, 4: positions; 2, 3, 5:
-- ages in ms.
UPDATE syncline_route SET lost = TRUE
WHERE NOT closed AND NOT lost
  AND ((position < ? AND updated_at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND AND alarm_at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND)
    OR (position < ? AND alarm_at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND))
