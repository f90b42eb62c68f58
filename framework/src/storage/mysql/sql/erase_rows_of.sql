-- Messages of the log with one key, or with a key of one saga, whose payload is there still.
SELECT seq, id FROM syncline_outbox
WHERE content_type <> 'application/vnd.syncline.erased'
  AND (`key` = ? OR (`key` >= ? AND `key` < ?))
ORDER BY seq
