-- What the slowest shard that the older schema cannot name has not sent; and all that a later
-- version of a stream carries, for the first version would send it again.
SELECT COALESCE(MAX((SELECT h.position FROM syncline_head AS h) - places.position), 0) FROM (
    SELECT r.position FROM syncline_route AS r WHERE r.shard > 0 OR r.version > 1
    UNION ALL
    SELECT s.after_position FROM syncline_stream AS s WHERE s.version > 1
) AS places
