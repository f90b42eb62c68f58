UPDATE syncline_lease
SET holder = $1, epoch = epoch + 1, expires_at = clock_timestamp()
