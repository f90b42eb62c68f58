SELECT CONVERT(consumer USING utf8mb4), CONVERT(topic USING utf8mb4), COUNT(*),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', MIN(held_at)) DIV 1000
FROM syncline_held WHERE unknown
GROUP BY consumer, topic ORDER BY consumer, topic LIMIT ?
