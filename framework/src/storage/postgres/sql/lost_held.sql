LOCK TABLE syncline_held IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM syncline_held;
