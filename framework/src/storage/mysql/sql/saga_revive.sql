-- What fails still does; that it could not be decided is forgotten.
UPDATE syncline_saga
SET trouble = CASE WHEN problem IS NULL THEN trouble END,
    failing_at = CASE WHEN problem IS NULL THEN failing_at END, problem = NULL
WHERE id = ? AND ended_at IS NULL
