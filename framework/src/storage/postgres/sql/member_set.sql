INSERT INTO syncline_member (route, holder, expires_at)
VALUES ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
ON CONFLICT (route, holder) DO UPDATE SET expires_at = excluded.expires_at
