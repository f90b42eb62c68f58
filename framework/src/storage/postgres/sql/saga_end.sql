-- Ends an instance that is stuck, or whose work nobody has done for so many milliseconds.
UPDATE syncline_saga AS s
SET status = 'resolved', updated_at = clock_timestamp(), stuck_at = NULL, ended_at = clock_timestamp(),
    trouble = NULL, failing_at = NULL
WHERE s.id = $1 AND s.ended_at IS NULL AND (
    s.stuck_at IS NOT NULL OR s.problem IS NOT NULL
    OR EXISTS (
        SELECT FROM syncline_saga_event AS e
        WHERE e.saga_id = s.id AND e.at <= clock_timestamp() - $2::bigint * interval '1 millisecond')
    OR EXISTS (
        SELECT FROM syncline_timer AS t
        WHERE t.kind = 'saga' AND t.owner = s.owner
          AND t.due_at <= clock_timestamp() - $3::bigint * interval '1 millisecond'
          AND substr(t.subject, 1, 32) = replace(s.id::text, '-', '')))
