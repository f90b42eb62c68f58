-- All leases in one statement, which commits by itself: whoever is frozen meanwhile leaves no lock.
-- They are locked in the order in which they are named, so that two processes cannot wait for each
-- other. One that ends later than any lease lasts is of a time when the clock was ahead.
INSERT INTO syncline_lease AS held (name, holder, epoch, expires_at)
SELECT name, $2, 1, clock_timestamp() + $3 * interval '1 millisecond'
FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY AS wanted (name, place)
ORDER BY place
ON CONFLICT (name) DO UPDATE
SET holder     = excluded.holder,
    epoch      = held.epoch + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
    expires_at = excluded.expires_at
WHERE held.holder = excluded.holder OR held.expires_at <= clock_timestamp()
   OR held.expires_at > clock_timestamp() + interval '10 minutes'
RETURNING name, epoch
