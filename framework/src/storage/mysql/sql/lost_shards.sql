-- What the slowest shard that the older schema cannot name has not sent; and all that a later
-- version of a stream carries, for the first version would send it again. Without aliases: the
-- tables are locked under their names.
SELECT COALESCE(MAX((SELECT syncline_head.position FROM syncline_head) - places.position), 0)
FROM (
    SELECT syncline_route.position FROM syncline_route WHERE shard > 0 OR version > 1
    UNION ALL
    SELECT after_position FROM syncline_stream WHERE version > 1
) AS places
