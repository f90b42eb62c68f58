SELECT incarnation, agreed, (extract(epoch FROM ended_at) * 1000)::bigint
FROM syncline_incarnation ORDER BY ended_at
