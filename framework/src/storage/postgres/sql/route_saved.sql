-- Which of the checkpoints are those of leases that still hold. An epoch that is over does not come
-- again: what holds now held when they were saved.
SELECT wanted.place
FROM jsonb_to_recordset($1::jsonb) AS wanted (
    place integer, route text, version integer, shard integer, lease text, holder uuid,
    epoch bigint)
JOIN syncline_lease AS lease
    ON lease.name = wanted.lease AND lease.holder = wanted.holder AND lease.epoch = wanted.epoch
JOIN syncline_route AS route
    ON route.name = wanted.route AND route.version = wanted.version AND route.shard = wanted.shard
