-- Locks the timers of delayed messages (a JSON array of ids $1, kind $2), in the order in which those who
-- move them do.
SELECT 1 FROM syncline_timer
WHERE kind = $2 AND owner = '' AND subject IN (SELECT value FROM json_array_elements_text($1::json) AS one (value))
ORDER BY due_at, subject FOR UPDATE
