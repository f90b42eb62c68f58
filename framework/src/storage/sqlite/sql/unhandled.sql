SELECT consumer, topic, count(*), min(held_at)
FROM syncline_held WHERE unknown
GROUP BY consumer, topic ORDER BY consumer, topic LIMIT $1
