-- A relay process renews its leases ($5 names, $6 holder, $7 milliseconds) as by lease_acquire.sql,
-- and says which routes ($8) it carries, as by member_set.sql. The answer holds them, what shares
-- depend on, and the rows of pulse.sql, which follows. One statement that commits by itself.
WITH leases AS (
    INSERT INTO syncline_lease AS held (name, holder, epoch, expires_at)
    SELECT name, $6, 1, clock_timestamp() + $7 * interval '1 millisecond'
    FROM jsonb_array_elements_text($5::jsonb) WITH ORDINALITY AS wanted (name, place)
    ORDER BY place
    ON CONFLICT (name) DO UPDATE
    SET holder     = excluded.holder,
        epoch      = held.epoch + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
        expires_at = excluded.expires_at
    WHERE held.holder = excluded.holder OR held.expires_at <= clock_timestamp()
       OR held.expires_at > clock_timestamp() + interval '10 minutes'
    RETURNING name, epoch
), members AS (
    INSERT INTO syncline_member (route, holder, expires_at)
    SELECT route, $6, clock_timestamp() + $7 * interval '1 millisecond'
    FROM jsonb_array_elements_text($8::jsonb) AS route
    ON CONFLICT (route, holder) DO UPDATE SET expires_at = excluded.expires_at
)
SELECT 'lease', name, epoch FROM leases
UNION ALL
SELECT 'seen', concat_ws(' ', 'node', incarnation), 0 FROM syncline_node
UNION ALL
SELECT 'seen', concat_ws(' ', 'route', syncline_route), 0 FROM syncline_route
UNION ALL
SELECT 'seen', concat_ws(' ', 'stream', syncline_stream), 0 FROM syncline_stream
UNION ALL
SELECT 'seen', concat_ws(' ', 'member', route, holder), 0 FROM syncline_member
WHERE expires_at > clock_timestamp() AND expires_at <= clock_timestamp() + interval '10 minutes'
UNION ALL
