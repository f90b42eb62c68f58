-- Readers whose alarm nobody heard, and that retention need not wait for. 1, 4: positions; 2, 3, 5:
-- ages in ms.
UPDATE syncline_route SET lost = TRUE
WHERE NOT closed AND NOT lost
  AND ((position < $1 AND updated_at <= clock_timestamp() - $2 * interval '1 millisecond' AND alarm_at <= clock_timestamp() - $3 * interval '1 millisecond')
    OR (position < $4 AND alarm_at <= clock_timestamp() - $5 * interval '1 millisecond'))
