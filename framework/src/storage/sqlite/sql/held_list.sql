SELECT id, consumer, source, key, message_id, topic, position, envelope, reason, dead, attempts,
       error, held_at
FROM syncline_held
WHERE id > $1 AND (dead OR $2)
ORDER BY id LIMIT $3
