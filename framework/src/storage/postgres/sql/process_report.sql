-- A row that was forgotten meanwhile is made again.
INSERT INTO syncline_process (id, kind, name, host, pid, program, defined, problems)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE
SET defined = excluded.defined, problems = excluded.problems, seen_at = clock_timestamp()
