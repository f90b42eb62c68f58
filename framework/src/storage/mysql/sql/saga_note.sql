-- Why an instance does not go on, until its next decision.
UPDATE syncline_saga SET trouble = ?, failing_at = coalesce(failing_at, UTC_TIMESTAMP(6))
WHERE id = ? AND ended_at IS NULL
