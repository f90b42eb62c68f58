SELECT position FROM syncline_trim
