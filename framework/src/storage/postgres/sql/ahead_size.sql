SELECT count(*), coalesce(sum(octet_length(ahead.envelope)), 0)::bigint FROM syncline_ahead AS ahead
WHERE consumer = $1 AND source = $2 AND stream = $3 AND version = $4 AND shard = $5
