SELECT message.id, message.topic, (extract(epoch FROM timer.due_at) * 1000)::bigint
FROM syncline_delayed AS message
JOIN syncline_timer AS timer ON timer.subject = replace(message.id::text, '-', '')
WHERE message.key = $1 AND timer.kind = $2 AND timer.owner = $3
ORDER BY timer.due_at, timer.subject LIMIT $4
