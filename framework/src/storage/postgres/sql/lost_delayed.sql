LOCK TABLE syncline_delayed IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM syncline_delayed;
