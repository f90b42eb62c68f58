-- Ends a lease, and makes what its holder still writes late. The row is made when there is none,
-- so that somebody who is just taking it is met.
INSERT INTO syncline_lease AS held (name, holder, epoch, expires_at)
VALUES ($1, $2, 1, CAST(unixepoch('subsec') * 1000 AS INTEGER))
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, epoch = held.epoch + 1, expires_at = excluded.expires_at
