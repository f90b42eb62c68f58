SELECT count(*) FROM syncline_ahead WHERE envelope IS NOT NULL;
