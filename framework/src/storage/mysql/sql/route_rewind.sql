UPDATE syncline_route
SET position = ?, seal = 0, seq = ?, last_position = ?, last_id = UNHEX(REPEAT('00', 16)),
    closed = ?, problem_kind = NULL, problem = NULL, problem_at = NULL,
    problem_tries = NULL, problem_next_at = NULL,
    alarm_at = NULL, lost = FALSE, updated_at = UTC_TIMESTAMP(6)
WHERE name = ? AND version = ? AND shard = ?
