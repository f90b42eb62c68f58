SELECT id, consumer, source, key, message_id, topic, position,
       envelope, CASE WHEN unknown THEN 'unknown' ELSE reason END, dead, attempts, error,
       held_at, edited_by, edited_at
FROM syncline_held
WHERE consumer = $1 AND source = $2 AND key = $3 AND (NOT dead OR $4)
ORDER BY position, id LIMIT $5
