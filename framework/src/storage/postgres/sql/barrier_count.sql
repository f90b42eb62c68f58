SELECT count(*) FROM syncline_barrier WHERE source = $1 AND answer <> ''
