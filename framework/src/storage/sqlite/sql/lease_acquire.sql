INSERT INTO syncline_lease AS held (name, holder, epoch, expires_at)
VALUES ($1, $2, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3)
ON CONFLICT (name) DO UPDATE
SET holder     = excluded.holder,
    epoch      = held.epoch + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
    expires_at = excluded.expires_at
WHERE held.holder = excluded.holder
   OR held.expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
RETURNING epoch
