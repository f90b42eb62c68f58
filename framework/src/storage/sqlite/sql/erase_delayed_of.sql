SELECT id FROM syncline_delayed
WHERE content_type <> 'application/vnd.syncline.erased'
  AND (key = $1 OR (key >= $2 AND key < $3))
ORDER BY id
