SELECT message.id, CONVERT(message.topic USING utf8mb4),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01', timer.due_at) DIV 1000
FROM syncline_delayed AS message
JOIN syncline_timer AS timer ON timer.subject = LOWER(HEX(message.id))
WHERE message.`key` = ? AND timer.kind = ? AND timer.owner = ?
ORDER BY timer.due_at, timer.subject LIMIT ?
