UPDATE syncline_lease SET expires_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = $1 AND holder = $2 AND epoch = $3
