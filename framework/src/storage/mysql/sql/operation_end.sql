-- One that has ended stays as it is.
UPDATE syncline_operation SET affected = ?, problem = ?, ended_at = UTC_TIMESTAMP(6)
WHERE id = ? AND ended_at IS NULL
