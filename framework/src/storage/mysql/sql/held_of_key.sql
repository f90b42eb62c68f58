SELECT id, CONVERT(consumer USING utf8mb4), CONVERT(source USING utf8mb4), CONVERT(`key` USING utf8mb4), message_id, CONVERT(topic USING utf8mb4), position,
       envelope, CASE WHEN unknown THEN 'unknown' ELSE CONVERT(reason USING utf8mb4) END, dead, attempts, CONVERT(error USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', held_at) DIV 1000, CONVERT(edited_by USING utf8mb4), TIMESTAMPDIFF(MICROSECOND, '1970-01-01', edited_at) DIV 1000
FROM syncline_held
WHERE consumer = ? AND source = ? AND `key` = ? AND (NOT dead OR ?)
ORDER BY position, id LIMIT ?
