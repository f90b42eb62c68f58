-- Right in either order, whether an assignment sees the ones before it or not.
INSERT INTO syncline_lease (name, holder, epoch, expires_at)
VALUES (?, ?, 1, UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND)
ON DUPLICATE KEY UPDATE
    epoch      = epoch + (holder <> VALUES(holder) AND expires_at <= UTC_TIMESTAMP(6)),
    holder     = IF(expires_at <= UTC_TIMESTAMP(6), VALUES(holder), holder),
    expires_at = IF(holder = VALUES(holder) OR expires_at <= UTC_TIMESTAMP(6), VALUES(expires_at), expires_at)
