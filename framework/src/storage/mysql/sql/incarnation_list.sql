SELECT incarnation, agreed, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ended_at) DIV 1000
FROM syncline_incarnation ORDER BY ended_at
