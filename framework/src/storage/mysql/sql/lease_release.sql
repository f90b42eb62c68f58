UPDATE syncline_lease SET expires_at = UTC_TIMESTAMP(6) WHERE name = ? AND holder = ? AND epoch = ?
