INSERT INTO syncline_timer (kind, owner, subject, due_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, owner, subject) DO UPDATE SET due_at = excluded.due_at
