-- What the slowest shard that the older schema cannot name has not sent; and all that a later
-- version of a stream carries, for the first version would send it again. Without other names for
-- the tables: they are locked by their own.
SELECT COALESCE(MAX((SELECT position FROM syncline_head) - places.place), 0) FROM (
    SELECT position AS place FROM syncline_route WHERE shard > 0 OR version > 1
    UNION ALL
    SELECT after_position FROM syncline_stream WHERE version > 1
) AS places
