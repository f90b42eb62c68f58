-- All leases in one statement, which commits by itself: whoever is frozen meanwhile leaves no lock.
-- They are locked in the order in which they are named, so that two processes cannot wait for each
-- other. Right in either order, whether an assignment sees the ones before it or not.
INSERT INTO syncline_lease (name, holder, epoch, expires_at)
SELECT CAST(wanted.name AS BINARY), ?, 1, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
FROM JSON_TABLE(?, '$[*]' COLUMNS (name VARCHAR(255) PATH '$')) AS wanted
ON DUPLICATE KEY UPDATE
    epoch      = epoch + (holder <> VALUES(holder) AND expires_at <= UTC_TIMESTAMP(6)),
    holder     = IF(expires_at <= UTC_TIMESTAMP(6), VALUES(holder), holder),
    expires_at = IF(holder = VALUES(holder) OR expires_at <= UTC_TIMESTAMP(6), VALUES(expires_at), expires_at)
