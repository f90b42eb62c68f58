SELECT consumer, envelope FROM syncline_ahead WHERE envelope IS NOT NULL
