SELECT id, consumer, source, key, message_id, topic, position,
       envelope, CASE WHEN unknown THEN 'unknown' ELSE reason END, dead, attempts, error,
       held_at, edited_by, edited_at
FROM syncline_held
WHERE id > $1 AND (dead OR $2)
ORDER BY id LIMIT $3
