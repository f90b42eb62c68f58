UPDATE syncline_lease
SET holder = ?, epoch = epoch + 1, expires_at = UTC_TIMESTAMP(6)
