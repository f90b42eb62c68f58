-- Messages that the slowest route has not sent; all of them when there is no route.
SELECT COUNT(*) FROM syncline_outbox
WHERE position = 0 OR position > (SELECT COALESCE(MIN(position), 0) FROM syncline_route)
