SELECT id FROM syncline_delayed
WHERE content_type <> 'application/vnd.syncline.erased'
  AND (key = $1 OR (key COLLATE "C" >= $2 AND key COLLATE "C" < $3))
ORDER BY id
