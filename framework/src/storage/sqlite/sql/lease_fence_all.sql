UPDATE syncline_lease
SET holder = $1, epoch = epoch + 1, expires_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
