SELECT count(*) FROM (SELECT 1 AS one FROM syncline_held WHERE consumer = $1 LIMIT $2) AS held
