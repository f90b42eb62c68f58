-- 2, 3: who does it and why; 4: whether the time is noted.
UPDATE syncline_route
SET paused = ?, paused_by = ?, paused_why = ?,
    paused_at = CASE WHEN ? THEN UTC_TIMESTAMP(6) END
WHERE name = ?
