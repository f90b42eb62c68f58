INSERT INTO syncline_member (route, holder, expires_at)
SELECT value, $1, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $2 FROM json_each($3)
WHERE true
ON CONFLICT (route, holder) DO UPDATE SET expires_at = excluded.expires_at
