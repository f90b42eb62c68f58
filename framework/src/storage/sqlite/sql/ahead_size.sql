SELECT count(*), coalesce(sum(length(ahead.envelope)), 0) FROM syncline_ahead AS ahead
WHERE consumer = $1 AND source = $2 AND stream = $3 AND version = $4 AND shard = $5
