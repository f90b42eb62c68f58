-- Of every shard, with -1.
SELECT count(*) FROM syncline_held
WHERE consumer = ? AND source = ? AND stream = ? AND position > ? AND ? IN (-1, shard)
