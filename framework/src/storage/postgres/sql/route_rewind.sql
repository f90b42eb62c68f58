UPDATE syncline_route
SET position = $1, seal = 0, seq = $2, last_position = $3,
    last_id = '00000000-0000-0000-0000-000000000000',
    closed = $4, problem_kind = NULL, problem = NULL, problem_at = NULL,
    problem_tries = NULL, problem_next_at = NULL,
    alarm_at = NULL, lost = false, updated_at = now()
WHERE name = $5 AND version = $6 AND shard = $7
