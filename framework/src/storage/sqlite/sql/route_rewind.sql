UPDATE syncline_route
SET position = $1, seal = 0, seq = $2, last_position = $3,
    last_id = zeroblob(16),
    closed = $4, problem_kind = NULL, problem = NULL, problem_at = NULL,
    problem_tries = NULL, problem_next_at = NULL,
    alarm_at = NULL, lost = 0, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = $5 AND version = $6 AND shard = $7
