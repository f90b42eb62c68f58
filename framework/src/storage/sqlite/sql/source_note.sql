INSERT INTO syncline_source (role, source, seen_at)
VALUES ($1, $2, CAST(unixepoch('subsec') * 1000 AS INTEGER))
ON CONFLICT (role, source) DO UPDATE SET seen_at = excluded.seen_at
