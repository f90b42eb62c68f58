SELECT id, consumer, source, key, envelope
FROM syncline_held WHERE id > $1 ORDER BY id LIMIT $2
