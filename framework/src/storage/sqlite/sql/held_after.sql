-- Of every shard, with -1.
SELECT count(*) FROM syncline_held
WHERE consumer = $1 AND source = $2 AND stream = $3 AND position > $4 AND $5 IN (-1, shard)
