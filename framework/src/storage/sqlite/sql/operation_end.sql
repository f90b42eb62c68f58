-- One that has ended stays as it is.
UPDATE syncline_operation SET affected = $1, problem = $2, ended_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE id = $3 AND ended_at IS NULL
