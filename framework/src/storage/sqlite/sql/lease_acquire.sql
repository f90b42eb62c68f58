-- All leases in one statement, which commits by itself: whoever is frozen between two statements
-- leaves no lock. One that ends later than any lease lasts is of a time when the clock was ahead.
INSERT INTO syncline_lease AS held (name, holder, epoch, expires_at)
SELECT value, $2, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER) + $3 FROM json_each($1)
WHERE true
ON CONFLICT (name) DO UPDATE
SET holder     = excluded.holder,
    epoch      = held.epoch + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
    expires_at = excluded.expires_at
WHERE held.holder = excluded.holder
   OR held.expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
   OR held.expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER) + 600000
RETURNING name, epoch
