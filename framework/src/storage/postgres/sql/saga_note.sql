-- Why an instance does not go on, until its next decision.
UPDATE syncline_saga SET trouble = $1, failing_at = coalesce(failing_at, clock_timestamp())
WHERE id = $2 AND ended_at IS NULL
