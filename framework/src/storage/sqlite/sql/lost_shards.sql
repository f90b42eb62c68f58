-- What the slowest shard that the older schema cannot name has not sent; and all that a later
-- version of a stream carries, for the first version would send it again.
SELECT coalesce(max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'syncline_outbox'), 0) - position), 0) FROM (
    SELECT position FROM syncline_route WHERE shard > 0 OR version > 1
    UNION ALL
    SELECT after_position FROM syncline_stream WHERE version > 1
) AS places;
