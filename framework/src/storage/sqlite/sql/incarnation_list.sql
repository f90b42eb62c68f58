SELECT incarnation, agreed, ended_at
FROM syncline_incarnation ORDER BY ended_at
