-- Nothing is trimmed until the transaction ends.
SELECT position FROM syncline_trim FOR SHARE
