-- What the slowest shard that the older schema cannot name has not sent; and all that a later
-- version of a stream carries, for the first version would send it again. Each table once and by
-- its own name: so it is locked.
SELECT COALESCE(MAX(syncline_head.position - places.position), 0)
FROM syncline_head JOIN (
    SELECT position FROM syncline_route WHERE shard > 0 OR version > 1
    UNION ALL
    SELECT after_position FROM syncline_stream WHERE version > 1
) AS places
