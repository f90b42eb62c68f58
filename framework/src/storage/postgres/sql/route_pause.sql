-- 2, 3: who does it and why; 4: whether the time is noted.
UPDATE syncline_route
SET paused = $1, paused_by = $2, paused_why = $3,
    paused_at = CASE WHEN $4 THEN clock_timestamp() END
WHERE name = $5
