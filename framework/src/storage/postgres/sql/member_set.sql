INSERT INTO syncline_member (route, holder, expires_at)
SELECT route, $1, clock_timestamp() + $2 * interval '1 millisecond'
FROM jsonb_array_elements_text($3::jsonb) AS route
ON CONFLICT (route, holder) DO UPDATE SET expires_at = excluded.expires_at
