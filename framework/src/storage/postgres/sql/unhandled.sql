SELECT consumer, topic, count(*), (extract(epoch FROM min(held_at)) * 1000)::bigint
FROM syncline_held WHERE unknown
GROUP BY consumer, topic ORDER BY consumer, topic LIMIT $1
