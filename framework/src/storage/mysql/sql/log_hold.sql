-- Of two sealers one waits here. What it reads afterwards, it reads as committed then.
SELECT position FROM syncline_head WHERE one = 1 FOR UPDATE
