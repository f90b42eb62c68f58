SELECT id FROM syncline_delayed
WHERE content_type <> 'application/vnd.syncline.erased'
  AND (`key` = ? OR (`key` >= ? AND `key` < ?))
ORDER BY id
