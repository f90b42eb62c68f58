-- All leases in one statement, which commits by itself: whoever is frozen meanwhile leaves no lock.
-- They are locked in the order in which they are named, so that two processes cannot wait for each
-- other. One that ends later than any lease lasts is of a time when the clock was ahead. Right in either order, whether an assignment sees the ones before it or not.
INSERT INTO syncline_lease (name, holder, epoch, expires_at)
SELECT CAST(wanted.name AS BINARY), ?, 1, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
ON DUPLICATE KEY UPDATE
    epoch      = epoch + (holder <> VALUES(holder) AND NOT (
                     expires_at > UTC_TIMESTAMP(6)
                     AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE)),
    holder     = IF(expires_at > UTC_TIMESTAMP(6)
                    AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE,
                    holder, VALUES(holder)),
    expires_at = IF(holder <> VALUES(holder) AND expires_at > UTC_TIMESTAMP(6)
                    AND expires_at <= UTC_TIMESTAMP(6) + INTERVAL 10 MINUTE,
                    expires_at, VALUES(expires_at))
