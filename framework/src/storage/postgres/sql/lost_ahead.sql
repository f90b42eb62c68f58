LOCK TABLE syncline_ahead IN ACCESS EXCLUSIVE MODE;
SELECT count(*) FROM syncline_ahead WHERE envelope IS NOT NULL;
