INSERT INTO syncline_timer (kind, owner, subject, due_at)
SELECT 'saga', value ->> 'owner', value ->> 'subject',
       CAST(unixepoch('subsec') * 1000 AS INTEGER) + (value ->> 'after')
FROM json_each($1) WHERE true
ON CONFLICT (kind, owner, subject) DO UPDATE SET due_at = excluded.due_at
