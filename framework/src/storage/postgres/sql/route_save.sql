-- All checkpoints in one statement, which commits by itself: whoever is frozen meanwhile leaves no
-- lock. The shared lock makes a take-over wait for this statement, or this statement see it; it is
-- taken in the order in which leases are acquired.
WITH wanted AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS wanted (
        place integer, route text, version integer, shard integer, position bigint, seal bigint,
        seq bigint, last_position bigint, last_id uuid, closed boolean, lease text, holder uuid,
        epoch bigint)
), held AS MATERIALIZED (
    SELECT wanted.place
    FROM wanted
    JOIN syncline_lease AS lease
        ON lease.name = wanted.lease AND lease.holder = wanted.holder AND lease.epoch = wanted.epoch
    ORDER BY wanted.place
    FOR SHARE OF lease
)
UPDATE syncline_route AS route
SET position = wanted.position, seal = wanted.seal, seq = wanted.seq,
    last_position = wanted.last_position, last_id = wanted.last_id, closed = wanted.closed,
    alarm_at = NULL, lost = false, updated_at = now()
FROM wanted JOIN held ON held.place = wanted.place
WHERE route.name = wanted.route AND route.version = wanted.version AND route.shard = wanted.shard
