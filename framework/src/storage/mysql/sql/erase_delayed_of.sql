-- In the order in which those who move them lock their timers.
SELECT d.id FROM syncline_delayed AS d LEFT JOIN syncline_timer AS t
  ON t.kind = 'delayed' AND t.owner = '' AND t.subject = CONVERT(LOWER(HEX(d.id)) USING binary)
WHERE d.content_type <> 'application/vnd.syncline.erased'
  AND (d.`key` = ? OR (d.`key` >= ? AND d.`key` < ?))
ORDER BY t.due_at, d.id
