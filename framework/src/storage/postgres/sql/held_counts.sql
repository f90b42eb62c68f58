SELECT consumer, count(*), count(*) FILTER (WHERE dead), count(*) FILTER (WHERE unknown),
       (extract(epoch FROM min(held_at)) * 1000)::bigint
FROM syncline_held
GROUP BY consumer
ORDER BY consumer
