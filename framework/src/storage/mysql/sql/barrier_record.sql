UPDATE syncline_barrier
SET answer = ?, undone = ?,
    touched_at = GREATEST(UTC_TIMESTAMP(6),
                          TIMESTAMP '1970-01-01 00:00:00' + INTERVAL (? * 1000) MICROSECOND)
WHERE source = ? AND saga_id = ? AND step = ?
