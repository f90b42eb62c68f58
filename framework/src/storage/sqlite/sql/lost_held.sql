SELECT count(*) FROM syncline_held;
