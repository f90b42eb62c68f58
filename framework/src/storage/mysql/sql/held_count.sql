SELECT count(*) FROM (SELECT 1 AS one FROM syncline_held WHERE consumer = ? LIMIT ?) AS held
