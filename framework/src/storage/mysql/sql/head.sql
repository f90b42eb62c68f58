SELECT position FROM syncline_head
