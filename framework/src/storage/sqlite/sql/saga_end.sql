-- Ends an instance that is stuck, or whose work nobody has done for so many milliseconds.
UPDATE syncline_saga
SET status = 'resolved', updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), stuck_at = NULL,
    ended_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), trouble = NULL, failing_at = NULL
WHERE id = $1 AND ended_at IS NULL AND (
    stuck_at IS NOT NULL OR problem IS NOT NULL
    OR EXISTS (
        SELECT 1 FROM syncline_saga_event AS e
        WHERE e.saga_id = syncline_saga.id
          AND e.at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $2)
    OR EXISTS (
        SELECT 1 FROM syncline_timer AS t
        WHERE t.kind = 'saga' AND t.owner = syncline_saga.owner
          AND t.due_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER) - $3
          AND unhex(substr(t.subject, 1, 32)) = syncline_saga.id))
