SELECT count(*) FROM syncline_delayed;
