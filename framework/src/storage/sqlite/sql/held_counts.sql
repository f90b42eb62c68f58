SELECT consumer, count(*), count(*) FILTER (WHERE dead), count(*) FILTER (WHERE unknown), min(held_at)
FROM syncline_held
GROUP BY consumer
ORDER BY consumer
