UPDATE syncline_saga
SET input = $1, state = $2, problem = NULL, trouble = NULL, failing_at = NULL
WHERE id = $3
