-- All checkpoints in one statement, which commits by itself: whoever is frozen between two
-- statements leaves no lock.
UPDATE syncline_route
SET position = wanted.value ->> 'position', seal = wanted.value ->> 'seal',
    seq = wanted.value ->> 'seq', last_position = wanted.value ->> 'last_position',
    last_id = unhex(wanted.value ->> 'last_id'), closed = wanted.value ->> 'closed',
    alarm_at = NULL, lost = 0, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM json_each($1) AS wanted
JOIN syncline_lease AS lease
    ON lease.name = wanted.value ->> 'lease' AND lease.epoch = wanted.value ->> 'epoch'
   AND lease.holder = unhex(wanted.value ->> 'holder')
WHERE syncline_route.name = wanted.value ->> 'route'
  AND syncline_route.version = wanted.value ->> 'version'
  AND syncline_route.shard = wanted.value ->> 'shard'
