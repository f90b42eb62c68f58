-- Ends a lease, and makes what its holder still writes late. The row is made when there is none,
-- so that somebody who is just taking it is met.
INSERT INTO syncline_lease (name, holder, epoch, expires_at)
VALUES (?, ?, 1, UTC_TIMESTAMP(6))
ON DUPLICATE KEY UPDATE
    holder = VALUES(holder), epoch = epoch + 1, expires_at = VALUES(expires_at)
