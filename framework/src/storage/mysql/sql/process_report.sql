-- A row that was forgotten meanwhile is made again.
INSERT INTO syncline_process (id, kind, name, host, pid, program, defined, problems)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE
    defined = VALUES(defined), problems = VALUES(problems), seen_at = UTC_TIMESTAMP(6)
