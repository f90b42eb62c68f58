SELECT id, consumer, source, key, message_id, topic, position,
       envelope, CASE WHEN unknown THEN 'unknown' ELSE reason END, dead, attempts, error,
       (extract(epoch FROM held_at) * 1000)::bigint, edited_by, (extract(epoch FROM edited_at) * 1000)::bigint
FROM syncline_held
WHERE id = $1
