-- Notes why a shard does not move, while its lease is that of whoever found it: else what a process
-- that was frozen says late would stay. The lease is named as changed so that it is read as committed
-- and locked: a take-over waits, or this statement sees it.
-- 7, 8: kind and text, nothing when it moves again; 9: keep the time that is noted; 10: an age in ms.
-- 11: failed tries in a row; 12: ms until the next one.
UPDATE syncline_lease AS lease FORCE INDEX (PRIMARY)
STRAIGHT_JOIN syncline_route AS route FORCE INDEX (PRIMARY)
    ON lease.name = CAST(? AS BINARY) AND lease.holder = ? AND lease.epoch = ?
   AND route.name = CAST(? AS BINARY) AND route.version = ? AND route.shard = ?
SET route.problem_kind = ?, route.problem = ?,
    route.problem_at = CASE WHEN ? AND route.problem_at IS NOT NULL THEN route.problem_at
                            ELSE UTC_TIMESTAMP(6) - INTERVAL (? * 1000) MICROSECOND END,
    route.problem_tries = ?,
    route.problem_next_at = UTC_TIMESTAMP(6) + INTERVAL (? * 1000) MICROSECOND,
    lease.expires_at = lease.expires_at
