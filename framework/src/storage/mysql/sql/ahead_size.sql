SELECT count(*), CAST(coalesce(sum(length(ahead.envelope)), 0) AS SIGNED) FROM syncline_ahead AS ahead
WHERE consumer = ? AND source = ? AND stream = ? AND version = ? AND shard = ?
