-- Ends an instance that is stuck, or whose work nobody has done for so many milliseconds.
UPDATE syncline_saga AS s
SET s.status = 'resolved', s.updated_at = UTC_TIMESTAMP(6), s.stuck_at = NULL,
    s.ended_at = UTC_TIMESTAMP(6), s.trouble = NULL, s.failing_at = NULL
WHERE s.id = ? AND s.ended_at IS NULL AND (
    s.stuck_at IS NOT NULL OR s.problem IS NOT NULL
    OR EXISTS (
        SELECT 1 FROM syncline_saga_event AS e
        WHERE e.saga_id = s.id AND e.at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND)
    OR EXISTS (
        SELECT 1 FROM syncline_timer AS t
        WHERE t.kind = 'saga' AND t.owner = s.owner
          AND t.due_at <= UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND
          AND UNHEX(LEFT(t.subject, 32)) = s.id))
