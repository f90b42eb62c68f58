UPDATE syncline_saga
SET input = ?, state = ?, problem = NULL, trouble = NULL, failing_at = NULL
WHERE id = ?
