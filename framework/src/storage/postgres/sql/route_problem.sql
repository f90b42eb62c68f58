-- Notes why a shard does not move, while its lease is that of whoever found it: else what a process
-- that was frozen says late would stay. The lock makes a take-over wait, or this statement see it.
-- 7, 8: kind and text, nothing when it moves again; 9: keep the time that is noted; 10: an age in ms.
-- 11: failed tries in a row; 12: ms until the next one.
WITH held AS MATERIALIZED (
    SELECT 1 FROM syncline_lease WHERE name = $1 AND holder = $2 AND epoch = $3 FOR SHARE
)
UPDATE syncline_route
SET problem_kind = $7, problem = $8,
    problem_at = CASE WHEN $9 AND problem_at IS NOT NULL THEN problem_at
                      ELSE clock_timestamp() - $10 * interval '1 millisecond' END,
    problem_tries = $11, problem_next_at = clock_timestamp() + $12 * interval '1 millisecond'
WHERE name = $4 AND version = $5 AND shard = $6 AND EXISTS (SELECT 1 FROM held)
