-- The oldest rows that are no longer kept, by a plain read.
SELECT seq FROM syncline_outbox FORCE INDEX (syncline_outbox_position)
WHERE position > 0 AND position <= (SELECT position FROM syncline_trim)
ORDER BY position LIMIT ?
