-- Messages that the slowest route has not sent; all of them when there is no route.
SELECT count(*) FROM syncline_outbox
WHERE seq > (SELECT coalesce(min(position), 0) FROM syncline_route);
