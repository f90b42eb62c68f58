-- One that has ended stays as it is.
UPDATE syncline_operation SET affected = $1, problem = $2, ended_at = clock_timestamp()
WHERE id = $3 AND ended_at IS NULL
