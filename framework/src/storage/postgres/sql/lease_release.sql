UPDATE syncline_lease SET expires_at = clock_timestamp()
WHERE name = $1 AND holder = $2 AND epoch = $3
