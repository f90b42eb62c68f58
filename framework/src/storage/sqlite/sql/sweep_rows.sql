DELETE FROM syncline_outbox
WHERE seq <= (SELECT position FROM syncline_trim)
  AND seq < (SELECT min(seq) FROM syncline_outbox) + $1
