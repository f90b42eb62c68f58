SELECT CONVERT(consumer USING utf8mb4), COUNT(*), CAST(SUM(dead) AS SIGNED), CAST(SUM(unknown) AS SIGNED),
       TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', MIN(held_at)) DIV 1000
FROM syncline_held
GROUP BY consumer
ORDER BY consumer
