SELECT CONVERT(subject USING utf8mb4) FROM syncline_timer
WHERE kind = ? AND owner = ? AND due_at <= UTC_TIMESTAMP(6)
ORDER BY due_at LIMIT ?
