SELECT position, seal FROM syncline_trim
