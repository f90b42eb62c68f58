-- Notes why a shard does not move, while its lease is that of whoever found it: else what a process
-- that was frozen says late would stay.
-- 7, 8: kind and text, nothing when it moves again; 9: keep the time that is noted; 10: an age in ms.
-- 11: failed tries in a row; 12: ms until the next one.
UPDATE syncline_route
SET problem_kind = $7, problem = $8,
    problem_at = CASE WHEN $9 AND problem_at IS NOT NULL THEN problem_at
                      ELSE CAST(unixepoch('subsec') * 1000 AS INTEGER) - $10 END,
    problem_tries = $11, problem_next_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + $12
WHERE name = $4 AND version = $5 AND shard = $6
  AND EXISTS (SELECT 1 FROM syncline_lease WHERE name = $1 AND holder = $2 AND epoch = $3)
