SELECT id, consumer, source, key, message_id, topic, position, envelope, reason, dead, attempts,
       error, held_at
FROM syncline_held
WHERE consumer = $1 AND source = $2 AND key = $3 AND (NOT dead OR $4)
ORDER BY position LIMIT $5
