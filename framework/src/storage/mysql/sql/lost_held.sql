SELECT COUNT(*) FROM syncline_held
