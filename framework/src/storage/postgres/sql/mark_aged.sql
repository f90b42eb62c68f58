-- Where the log ended so long ago, as far as it was noted.
SELECT coalesce(max(position), 0) FROM syncline_mark
WHERE at <= clock_timestamp() - $1 * interval '1 millisecond'
