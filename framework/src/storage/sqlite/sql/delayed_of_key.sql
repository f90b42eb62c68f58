SELECT message.id, message.topic, timer.due_at
FROM syncline_delayed AS message
JOIN syncline_timer AS timer ON timer.subject = lower(hex(message.id))
WHERE message.key = $1 AND timer.kind = $2 AND timer.owner = $3
ORDER BY timer.due_at, timer.subject LIMIT $4
