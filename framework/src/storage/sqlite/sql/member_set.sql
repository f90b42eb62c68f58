INSERT INTO syncline_member (route, holder, expires_at)
VALUES ($1, $2, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3)
ON CONFLICT (route, holder) DO UPDATE SET expires_at = excluded.expires_at
