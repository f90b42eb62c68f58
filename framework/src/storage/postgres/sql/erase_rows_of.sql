-- Messages of the log with one key, or with a key of one saga, whose payload is there still.
SELECT seq, id FROM syncline_outbox
WHERE content_type <> 'application/vnd.syncline.erased'
  AND (key = $1 OR (key COLLATE "C" >= $2 AND key COLLATE "C" < $3))
ORDER BY seq
