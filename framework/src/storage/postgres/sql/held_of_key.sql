SELECT id, consumer, source, key, message_id, topic, position,
       envelope, CASE WHEN unknown THEN 'unknown' ELSE reason END, dead, attempts, error,
       (extract(epoch FROM held_at) * 1000)::bigint, edited_by, (extract(epoch FROM edited_at) * 1000)::bigint
FROM syncline_held
WHERE consumer = $1 AND source = $2 AND key = $3 AND (NOT dead OR $4)
ORDER BY position, id LIMIT $5
