UPDATE syncline_timer SET due_at = UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND
WHERE kind = ? AND owner = ? AND subject = ? AND due_at <= UTC_TIMESTAMP(6)
