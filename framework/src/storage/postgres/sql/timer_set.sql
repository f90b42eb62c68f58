INSERT INTO syncline_timer (kind, owner, subject, due_at)
VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
ON CONFLICT (kind, owner, subject) DO UPDATE SET due_at = excluded.due_at
