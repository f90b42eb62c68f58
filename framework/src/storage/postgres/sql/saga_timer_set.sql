INSERT INTO syncline_timer (kind, owner, subject, due_at)
SELECT 'saga', owner, subject, clock_timestamp() + after * interval '1 millisecond'
FROM json_to_recordset($1::json) AS r (owner text, subject text, after bigint)
ON CONFLICT (kind, owner, subject) DO UPDATE SET due_at = excluded.due_at
