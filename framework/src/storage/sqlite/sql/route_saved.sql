-- Which of the checkpoints are those of leases that still hold. An epoch that is over does not come
-- again: what holds now held when they were saved.
SELECT CAST(wanted.value ->> 'place' AS INTEGER)
FROM json_each($1) AS wanted
JOIN syncline_lease AS lease
    ON lease.name = wanted.value ->> 'lease' AND lease.epoch = wanted.value ->> 'epoch'
   AND lease.holder = unhex(wanted.value ->> 'holder')
JOIN syncline_route AS route
    ON route.name = wanted.value ->> 'route' AND route.version = wanted.value ->> 'version'
   AND route.shard = wanted.value ->> 'shard'
